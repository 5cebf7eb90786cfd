"""The progress of a run on standard error: a live panel on a terminal, lines elsewhere."""

import math
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TextIO

from klamp.config.run import Configuration
from klamp.reporting.format import (
    LINE_EVERY_S,
    Refusals,
    closing,
    ending,
    heading,
    mostly_refused,
    next_steps,
    progress_line,
)
from klamp.reporting.pace import Pace
from klamp.reporting.reporter import Log, Told
from klamp.runs.metrics_log import Metrics
from klamp.runtime.streams import patient


class Lines:
    """One line every few seconds: for logs, pipes and notebooks."""

    def __init__(self, file: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        self._file, self._clock = patient(file), clock
        self._last = -math.inf
        self._pace = Pace(1, clock=clock)
        self._refusals = Refusals()

    def start(self, config: Configuration, folder: Path) -> None:
        """Name the run."""
        self._pace = Pace.of(config, self._clock)
        self._say(heading(config, str(folder)))

    def compiling(self) -> None:
        """Nothing to print."""
        self._say("compiling …")

    def update(self, event: Told) -> None:
        """A line, unless one was written just now; the first refused update of a row at once."""
        metrics = event.metrics
        if (said := self._refusals.said_of(metrics)) is not None:
            self._say(said)
        self._pace.hear(metrics)
        now = self._clock()
        if now - self._last >= LINE_EVERY_S:
            self._last = now
            self._say(progress_line(metrics, self._pace.left))

    def finish(self, summary: Metrics) -> None:
        """The result."""
        self._say(f"{ending(summary)}.")
        for name, said in closing(summary):
            self._say(f"{name}: {said}")
        refused = mostly_refused(summary) is not None
        for name, command in next_steps(summary["folder"], refused=refused):
            self._say(f"{name}: {command}")

    def _say(self, line: str) -> None:
        print(line, file=self._file, flush=True)


def is_terminal(file: TextIO) -> bool:
    """Whether it is a terminal that can be redrawn."""
    return file.isatty() and os.environ.get("TERM", "") not in ("dumb", "unknown")


def console(file: TextIO | None = None) -> Log:
    """A panel where ``file`` (standard error) is a terminal, lines where it is not."""
    target = patient(sys.stderr if file is None else file)
    if not is_terminal(target):
        return Lines(target)
    from klamp.reporting.panel import RunPanel  # noqa: PLC0415 - only a terminal pays for rich

    return RunPanel(target)
