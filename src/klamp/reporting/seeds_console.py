"""The progress of many runs: a panel on a terminal, lines elsewhere, nothing when quiet."""

import time
from collections.abc import Callable
from typing import Any, Protocol, TextIO

from klamp.reporting.console import is_terminal
from klamp.reporting.format import LINE_EVERY_S
from klamp.reporting.seeds_progress import BEGUN, DONE, FAILED, REFUSED, UPDATE, Progress
from klamp.runtime.streams import patient


class SeedsReporter(Protocol):
    """Shows the progress of many runs."""

    progress: Progress

    def start(self) -> None:
        """The runs begin."""
        ...

    def hear(self, kind: str, seed: int, told: Any, /) -> None:
        """A message of a run."""
        ...

    def finish(self, next_steps: list[tuple[str, str]], /) -> None:
        """All have ended; shows what to do next, and the command for it."""
        ...

    def close(self) -> None:
        """Release the terminal."""
        ...


class SeedsQuiet:
    """Shows nothing."""

    def __init__(self, progress: Progress) -> None:
        self.progress = progress

    def start(self) -> None:
        """Nothing."""

    def hear(self, kind: str, seed: int, told: Any, /) -> None:
        """Nothing."""

    def finish(self, next_steps: list[tuple[str, str]], /) -> None:
        """Nothing."""

    def close(self) -> None:
        """Nothing."""


class SeedsLines:
    """One line every few seconds about all runs."""

    def __init__(
        self, progress: Progress, file: TextIO, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.progress, self._file, self._clock = progress, patient(file), clock
        self._last, self._compiling = clock(), False

    def start(self) -> None:
        """Name what is trained."""
        steps = f"{self.progress.config.settings.steps:,} steps each"
        self._say(f"{self.progress.config.env} · {len(self.progress.members)} seeds · {steps}")

    def hear(self, kind: str, seed: int, told: Any, /) -> None:
        """A line if the last one was some time ago; problems and finished runs at once."""
        self.progress.hear(kind, seed, told)
        if kind == BEGUN and not self._compiling:
            self._compiling = True
            self._say("compiling …")
        if kind in (REFUSED, FAILED):
            self._say(f"seed {seed}: {told}")
        now = self._clock()
        if kind == DONE or (kind == UPDATE and now - self._last >= LINE_EVERY_S):
            self._last = now
            self._say(self.progress.summary())

    def finish(self, next_steps: list[tuple[str, str]], /) -> None:
        """What to do next."""
        for name, command in next_steps:
            self._say(f"{name}: {command}")

    def close(self) -> None:
        """Nothing to release."""

    def _say(self, line: str) -> None:
        print(line, file=self._file, flush=True)


def seeds_reporter(progress: Progress, file: TextIO | None) -> SeedsReporter:
    """A panel where ``file`` is a terminal, lines where it is not, nothing where it is None."""
    if file is None:
        return SeedsQuiet(progress)
    if not is_terminal(file):
        return SeedsLines(progress, file)
    from klamp.reporting.seeds_panel import SeedsPanel  # noqa: PLC0415 - only a terminal pays

    return SeedsPanel(progress, file)
