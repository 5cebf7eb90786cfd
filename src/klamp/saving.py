"""Keeping a run on a disk that may be full: warn, go on, try again, stop before it is in vain."""

import threading
import warnings
from pathlib import Path

from klamp.config import RunConfig
from klamp.errors import KlampWarning, NotSaved
from klamp.iteration import Boundary
from klamp.manifest import Spent
from klamp.metrics import MetricsLog
from klamp.state import save

ATTEMPTS = 3
"""Checkpoints in a row that may fail to be written."""


class Saver:
    """Saves where a run stands; the loop and the thread of last resort take turns."""

    def __init__(
        self, config: RunConfig, folder: Path, log: MetricsLog, saved_at: int | None = None
    ) -> None:
        self._config, self._folder, self._log = config, folder, log
        self._turn = threading.Lock()
        self._failures = 0
        self.saved_at = saved_at
        """The step of the last whole checkpoint."""
        self.tried_at = saved_at or 0
        """The step of the last attempt."""
        self.trouble: str | None = None
        """Why the last attempt failed, where it did."""

    @property
    def last(self) -> str:
        """Which checkpoint there is to go on from."""
        if self.saved_at is None:
            return "there is no checkpoint"
        return f"the last good one is of step {self.saved_at:,}"

    def attempt(self, boundary: Boundary, spent: Spent) -> bool:
        """Write a checkpoint, after the metrics that it knows of; whether that worked."""
        with self._turn:
            self.tried_at = int(boundary.state.step)
            try:
                self._log.sync()
                save(self._config, boundary.state, boundary.position, self._folder, spent)
            except OSError as error:
                self._failures += 1
                self.trouble = error.strerror or str(error)
                return False
            self._failures, self.trouble = 0, None
            self.saved_at = self.tried_at
            return True

    def save(self, boundary: Boundary, spent: Spent) -> bool:
        """The same in the middle of a run: a failure is warned of, and the run goes on.

        Raises ``NotSaved`` after ``ATTEMPTS`` failures in a row, and where there is no checkpoint
        at all: what was saved before is intact.
        """
        if self.attempt(boundary, spent):
            return True
        what = (
            f"The checkpoint of step {int(boundary.state.step):,} could not be written to "
            f"{self._folder} ({self.trouble}), {self._failures} in a row; {self.last}"
        )
        if self._failures >= ATTEMPTS or self.saved_at is None:
            raise NotSaved(
                f"{what}, and the run has stopped. Free some space there, then go on with "
                f"`klamp resume {self._folder}`."
            )
        warnings.warn(
            f"{what}. The run goes on, and the next checkpoint is tried in its turn.",
            KlampWarning,
            stacklevel=3,
        )
        return False
