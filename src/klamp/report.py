"""What a person sees while a run is under way: a live panel on a terminal, lines elsewhere."""

import math
import sys
import time
from collections.abc import Callable
from typing import Protocol, TextIO, runtime_checkable

from klamp.config import RunConfig, algorithm_name
from klamp.errors import printable
from klamp.metrics import Metrics
from klamp.streams import patient

LINE_EVERY_S = 2.0
"""Seconds between two lines where the output is not a terminal."""


@runtime_checkable
class Reporter(Protocol):
    """Told of a run's start, of every update, and of its end."""

    def start(self, config: RunConfig, folder: str) -> None:
        """A run begins or goes on."""
        ...

    def update(self, metrics: Metrics) -> None:
        """An update was made."""
        ...

    def finish(self, summary: Metrics) -> None:
        """The run is over."""
        ...

    def stop(self) -> None:
        """Give the terminal back; called on every way out."""
        ...


class Silent:
    """Says nothing."""

    def start(self, config: RunConfig, folder: str) -> None:
        """Say nothing."""

    def update(self, metrics: Metrics) -> None:
        """Say nothing."""

    def finish(self, summary: Metrics) -> None:
        """Say nothing."""

    def stop(self) -> None:
        """Nothing to give back."""


class Lines:
    """One line every few seconds: for logs, pipes and notebooks."""

    def __init__(self, file: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        self._file, self._clock = patient(file), clock
        self._last = -math.inf
        self._steps = 1

    def start(self, config: RunConfig, folder: str) -> None:
        """Name the run."""
        self._steps = config.settings.steps
        print(heading(config, folder), file=self._file, flush=True)

    def update(self, metrics: Metrics) -> None:
        """A line, unless one was written just now."""
        now = self._clock()
        if now - self._last >= LINE_EVERY_S:
            self._last = now
            print(progress_line(metrics, self._steps), file=self._file, flush=True)

    def finish(self, summary: Metrics) -> None:
        """The result."""
        print(closing(summary), file=self._file, flush=True)

    def stop(self) -> None:
        """Nothing to give back."""


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

    def start(self, config: RunConfig, folder: str) -> None:
        """Name the run and show the bar."""
        self._steps = config.settings.steps
        self._console.print(heading(config, folder))
        self._progress.update(self._task, total=self._steps)
        self._progress.start()

    def update(self, metrics: Metrics) -> None:
        """Move the bar."""
        figures = progress_line(metrics, self._steps)
        self._progress.update(self._task, completed=metrics["step"], figures=figures)

    def finish(self, summary: Metrics) -> None:
        """Take the bar away and print the result."""
        self._progress.stop()
        self._console.print(closing(summary))

    def stop(self) -> None:
        """Take the bar away."""
        self._progress.stop()


def reporter(file: TextIO | None = None) -> Reporter:
    """A panel where ``file`` (standard error) is a terminal, lines where it is not."""
    target = patient(sys.stderr if file is None else file)
    return Panel(target) if target.isatty() else Lines(target)


def heading(config: RunConfig, folder: str) -> str:
    """What is trained, and where it is kept."""
    settings = config.settings
    return printable(
        f"{config.env} · {algorithm_name(config.algorithm).upper()} · seed {settings.seed} · "
        f"{settings.steps:,} steps · {settings.num_envs} environments × "
        f"{settings.rollout_length} steps · {folder}"
    )


def progress_line(metrics: Metrics, steps: int) -> str:
    """Steps, speed, return, KL, outcome, time left: one line."""
    mean, speed = metrics["return_mean"], metrics["steps_per_second"]
    left = max(steps - metrics["step"], 0) / max(speed, 1e-9)
    shown = "none yet" if mean is None else f"{mean:.1f}"
    kl = "not made" if metrics["kl"] is None else f"{metrics['kl']:.4f}"
    return (
        f"step {metrics['step']:,} · {speed:,.0f} steps/s · return {shown} · "
        f"KL {kl} · {metrics['outcome']} · {duration(left)} left"
    )


def closing(summary: Metrics) -> str:
    """What was learnt, how long it took, and what can be done next."""
    mean, folder = summary["return_mean"], printable(summary["folder"])
    learnt = "no episode ended" if mean is None else f"mean return {mean:.1f}"
    return (
        f"Done: {learnt} over the last {min(summary['episodes'], 100)} training episodes, "
        f"{summary['step']:,} steps in {duration(summary['wall_s'])} "
        f"({summary['compile_s']:.1f} s of it compiling).\n"
        f"The run lies in {folder}; see it act: klamp eval {folder}"
    )


def duration(seconds: float) -> str:
    """65 s as `1 min 5 s`; rounded once, to what is shown, and only then divided into units."""
    tenths, whole, minutes = round(seconds * 10), round(seconds), round(seconds / 60)
    if tenths < 100:
        return f"{tenths / 10:.1f} s"
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{minutes // 60} h {minutes % 60} min"


class Progress:
    """One line every few seconds about all runs."""

    def __init__(self, config: RunConfig, runs: int, file: TextIO | None) -> None:
        self._total, self._runs = config.settings.steps * runs, runs
        self._file = None if file is None else patient(file)
        self._steps: dict[int, int] = {}
        self._returns: dict[int, float] = {}
        self._done = 0
        self._began = self._last = time.monotonic()

    def hear(self, kind: str, seed: int, step: int, mean: float | None) -> None:
        """Take in what a run told; a line if the last one was some time ago."""
        self._steps[seed] = step
        if mean is not None:
            self._returns[seed] = mean
        self._done += kind == "done"
        now = time.monotonic()
        if self._file is not None and (kind == "done" or now - self._last >= LINE_EVERY_S):
            self._last = now
            print(self._line(now - self._began), file=self._file, flush=True)

    def _line(self, spent: float) -> str:
        steps = sum(self._steps.values())
        speed = steps / max(spent, 1e-9)
        returns = sorted(self._returns.values())
        shown = (
            f"returns {sum(returns) / len(returns):.1f} ({returns[0]:.1f} to {returns[-1]:.1f})"
            if returns
            else "no episode has ended"
        )
        left = duration(max(self._total - steps, 0) / max(speed, 1e-9))
        return (
            f"{self._done} of {self._runs} runs done · step {steps:,} of {self._total:,} · "
            f"{speed:,.0f} steps/s · {shown} · {left} left"
        )
