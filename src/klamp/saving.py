"""Keeping a run on a disk that may be full: warn, go on, try again, stop before it is in vain."""

import threading
import warnings
from pathlib import Path

from klamp.config import RunConfig
from klamp.errors import KlampWarning, RunFolderError
from klamp.files import sync
from klamp.iteration import Boundary
from klamp.state import save

ATTEMPTS = 3
"""Checkpoints in a row that may fail to be written."""


class Saver:
    """Saves where a run stands; the loop and the thread of last resort take turns.

    A checkpoint that cannot be written is warned of, and the next one is tried in its turn. Raises
    ``RunFolderError`` after ``ATTEMPTS`` failures in a row: what was saved before is intact.
    """

    def __init__(self, config: RunConfig, folder: Path) -> None:
        self._config, self._folder = config, folder
        self._turn = threading.Lock()
        self._failures = 0
        self.saved_at = -1
        """The step of the last checkpoint that was written."""

    def save(self, boundary: Boundary) -> bool:
        """Write a checkpoint, after the metrics that it knows of; whether that worked."""
        metrics = self._folder / "metrics.jsonl"
        with self._turn:
            try:
                if metrics.exists():
                    sync(metrics)
                save(self._config, boundary.state, boundary.position, self._folder)
            except OSError as error:
                self._failures += 1
                self._explain(error, int(boundary.state.step))
                return False
            self._failures, self.saved_at = 0, int(boundary.state.step)
            return True

    def _explain(self, error: OSError, step: int) -> None:
        what = (
            f"The checkpoint of step {step:,} could not be written to {self._folder} "
            f"({error.strerror or error}), {self._failures} in a row"
        )
        last = f"the last good one is of step {max(self.saved_at, 0):,}"
        if self._failures >= ATTEMPTS:
            raise RunFolderError(
                f"{what}; {last}, and the run has stopped. Free some space there, then go on with "
                f"`klamp resume {self._folder}`."
            ) from error
        warnings.warn(
            f"{what}; {last}. The run goes on, and the next checkpoint is tried in its turn.",
            KlampWarning,
            stacklevel=3,
        )
