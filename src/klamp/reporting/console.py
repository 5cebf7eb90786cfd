"""What a person sees while a run is under way: a live panel on a terminal, lines elsewhere."""

import math
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
    heading,
    progress_line,
)
from klamp.reporting.reporter import Log, Told
from klamp.runs.metrics_log import Metrics
from klamp.runtime.streams import patient


class Lines:
    """One line every few seconds: for logs, pipes and notebooks."""

    def __init__(self, file: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        self._file, self._clock = patient(file), clock
        self._last = -math.inf
        self._steps = 1
        self._refusals = Refusals()

    def start(self, config: Configuration, folder: Path) -> None:
        """Name the run."""
        self._steps = config.settings.steps
        print(heading(config, str(folder)), file=self._file, flush=True)

    def update(self, event: Told) -> None:
        """A line, unless one was written just now; the first refused update of a row at once."""
        if (said := self._refusals.said_of(event.metrics)) is not None:
            print(said, file=self._file, flush=True)
        now = self._clock()
        if now - self._last >= LINE_EVERY_S:
            self._last = now
            print(progress_line(event.metrics, self._steps), file=self._file, flush=True)

    def finish(self, summary: Metrics) -> None:
        """The result."""
        print(closing(summary), file=self._file, flush=True)


class Panel:
    """A progress bar with the figures of the last update, redrawn in place."""

    def __init__(self, file: TextIO) -> None:
        from rich.console import Console  # noqa: PLC0415 - only a terminal pays for it
        from rich.progress import BarColumn, Progress, TextColumn  # noqa: PLC0415

        # Names may hold what rich takes for its markup: `a[bold]b` is shown as it is.
        self._console = Console(file=patient(file), highlight=False, markup=False, emoji=False)
        self._progress = Progress(
            TextColumn("{task.percentage:>3.0f} %"),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[figures]}", markup=False),
            console=self._console,
            transient=True,
        )
        self._task = self._progress.add_task("", total=1, figures="compiling …")
        self._steps = 1
        self._refusals = Refusals()

    def start(self, config: Configuration, folder: Path) -> None:
        """Name the run and show the bar."""
        self._steps = config.settings.steps
        self._console.print(heading(config, str(folder)))
        self._progress.update(self._task, total=self._steps)
        self._progress.start()

    def update(self, event: Told) -> None:
        """Move the bar; above it the first refused update of a row."""
        if (said := self._refusals.said_of(event.metrics)) is not None:
            self._console.print(said)
        figures = progress_line(event.metrics, self._steps)
        self._progress.update(self._task, completed=event.metrics["step"], figures=figures)

    def finish(self, summary: Metrics) -> None:
        """Take the bar away and print the result."""
        self._progress.stop()
        self._console.print(closing(summary))

    def close(self) -> None:
        """Take the bar away."""
        self._progress.stop()


def console(file: TextIO | None = None) -> Log:
    """A panel where ``file`` (standard error) is a terminal, lines where it is not."""
    target = patient(sys.stderr if file is None else file)
    return Panel(target) if target.isatty() else Lines(target)
