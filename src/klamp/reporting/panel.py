"""A run on a terminal: a panel that is redrawn in place, and a table that stays when it is over."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

from rich.box import ROUNDED
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from klamp.config.run import Configuration
from klamp.reporting.format import (
    MADE,
    Refusals,
    closing,
    duration,
    ending,
    heading,
    mostly_refused,
    next_steps,
    number,
)
from klamp.reporting.pace import Pace
from klamp.reporting.reporter import Told
from klamp.reporting.sparkline import Sparkline
from klamp.runs.metrics_log import Metrics, metrics_until
from klamp.runtime.streams import patient

REDRAWN = 1.0
"""Redraws per second: the loop waits while the panel is drawn, which takes four milliseconds."""

LABEL, VALUE, SPARK = 18, 10, 6
"""Columns of a cell: its name, its number, and the course of that where there is room."""

CELLS = {
    "entropy": "entropy",
    "explained_variance": "explained variance",
    "length_mean": "episode length",
    "clip_fraction": "clip fraction",
    "value_loss": "value loss",
    "effective_sample_size": "effective samples",
}
"""The metrics that have a cell of their own, the first three at every width."""

WIDE = 108
"""Columns from which there is room for all of them, three beside each other."""


def terminal(file: TextIO) -> Console:
    """A terminal that prints names literally: rich would read `a[bold]b` and `:x:` as markup."""
    return Console(file=patient(file), highlight=False, markup=False, emoji=False)


def redrawn(console: Console, panel: RenderableType) -> Live:
    """A panel that is redrawn in place, and removed at the end."""
    return Live(
        console=console,
        get_renderable=lambda: panel,
        refresh_per_second=REDRAWN,
        transient=True,
    )


class RunPanel:
    """The figures of the last update, redrawn in place; events are printed above it."""

    def __init__(self, file: TextIO) -> None:
        self._console = terminal(file)
        self._live = redrawn(self._console, self)
        self._refusals, self._refused = Refusals(), 0
        self._pace = Pace(1)
        self._steps, self._bound = 1, ("", None)
        self._metrics: Mapping[str, Any] = {}
        self._evaluation: Mapping[str, Any] = {}
        self._courses = {name: Sparkline() for name in ("return_mean", "eval_return_mean", *CELLS)}
        self._kl = Sparkline()

    def start(self, config: Configuration, folder: Path) -> None:
        """Name the run and show the panel."""
        self._steps, self._pace = config.settings.steps, Pace.of(config)
        self._bound = kl_bound(config)
        self._console.print(heading(config, str(folder)))
        self._live.start(refresh=True)

    def update(self, event: Told) -> None:
        """Take in an update; the first refused update of a row is printed above the panel."""
        metrics = event.metrics
        if not self._metrics and metrics["update"] > 1:
            for line in metrics_until(event.folder / "metrics.jsonl", metrics["update"] - 1):
                self._hear(line)
        self._hear(metrics)
        self._pace.hear(metrics)
        if (said := self._refusals.said_of(metrics)) is not None:
            self._console.print(said, style="yellow")

    def _hear(self, metrics: Mapping[str, Any]) -> None:
        """Add an update to the curves, also one from before a resume."""
        self._metrics = metrics
        self._refused += metrics.get("outcome") not in MADE
        if "eval_return_mean" in metrics:
            self._evaluation = metrics
        self._kl.add(metrics.get("kl"))
        for name, course in self._courses.items():
            course.add(metrics.get(name))

    def finish(self, summary: Metrics) -> None:
        """Replace the panel by how the run ended, and what to do next."""
        self._live.stop()
        ended_well = mostly_refused(summary) is None
        course = self._courses["return_mean"].drawn(self._console.width - LABEL - 6)
        rows: list[tuple[str, RenderableType]] = []
        for name, text in closing(summary):
            rows.append((name, Text(text)))
            if name == "return" and course:
                rows.append(("", Text(course, style="cyan")))
        self._console.print(
            Panel(
                listed(rows),
                title=Text(ending(summary)),
                title_align="left",
                box=ROUNDED,
                border_style="green" if ended_well else "red",
            )
        )
        print_next(self._console, next_steps(summary["folder"], refused=not ended_well))

    def close(self) -> None:
        """Take the panel away."""
        self._live.stop()

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """The panel as it is now, in the width that there is."""
        inner = max(options.max_width - 4, 20)
        metrics = self._metrics
        if not metrics:
            parts: list[RenderableType] = [
                Text(f"compiling …  {duration(self._pace.elapsed)}", style="bold")
            ]
        else:
            parts = [
                progress(metrics["step"], self._steps, inner),
                self._rows(metrics, inner),
                self._cells(metrics, inner),
                self._times(metrics),
            ]
        yield Panel(Group(*parts), box=ROUNDED, border_style="dim")

    def _rows(self, metrics: Mapping[str, Any], inner: int) -> RenderableType:
        """The rows: the return, the KL with its bound, the outcome."""
        returned, room = number(metrics["return_mean"]), inner - LABEL - 1
        rows = [("return", with_course(returned, self._courses["return_mean"], room))]
        if self._evaluation:
            text = number(self._evaluation["eval_return_mean"])
            rows.append(("evaluation", with_course(text, self._courses["eval_return_mean"], room)))
        rows.append(("KL", self._kl_row(metrics["kl"], room)))
        outcome = str(metrics["outcome"])
        style = "green" if outcome in MADE else "bold red"
        said = Text.assemble((outcome, style), f"  {self._refused:,}/{metrics['update']:,} ")
        rows.append(("outcome", said.append("refused")))
        return listed(rows)

    def _kl_row(self, kl: float | None, room: int) -> Text:
        """The KL of the update, in nats, and its share of the bound, where there is one."""
        name, bound = self._bound
        shown = "–" if kl is None else f"{kl:.4f}"
        if bound is None:
            return with_course(shown, self._kl, room)
        share = 0.0 if kl is None else kl / bound
        filled = min(round(10 * share), 10)
        within = share <= 1 or name != "≤"
        text = Text(f"{shown} {name} {bound:g} ")
        text.append("━" * filled, style="green" if within else "bold red")
        text.append("━" * (10 - filled), style="dim")
        return text.append(" ").append(self._kl.drawn(room - len(text.plain) - 1), style="cyan")

    def _cells(self, metrics: Mapping[str, Any], inner: int) -> RenderableType:
        """The other figures, beside each other."""
        wide = inner >= WIDE
        names = list(CELLS) if wide else [*list(CELLS)[:3], "speed"]
        columns = 3 if wide else max(1, min(2, inner // (LABEL + VALUE)))
        room = inner // columns - LABEL - VALUE - 3
        cells: list[tuple[str, Text]] = []
        for name in names:
            if name == "speed":
                cells.append(("steps per second", Text(f"{metrics['steps_per_second']:,.0f}")))
                continue
            value = metrics.get(name)
            text = Text(f"{'–' if value is None else f'{value:.4g}':<{VALUE}}")
            if room >= SPARK:
                text.append(self._courses[name].drawn(min(room, 12)), style="cyan")
            cells.append((CELLS[name], text))
        return side_by_side(cells, columns)

    def _times(self, metrics: Mapping[str, Any]) -> Text:
        """Elapsed time and time left."""
        left = self._pace.left
        coming = "estimating the time left" if left is None else f"{duration(left)} left"
        speed = f"{metrics['steps_per_second']:,.0f} steps/s"
        said = f"{duration(self._pace.elapsed)} elapsed · {coming}"
        return Text(said if self._console.width < WIDE else f"{said} · {speed}", style="dim")


def kl_bound(config: Configuration) -> tuple[str, float | None]:
    """What the KL of an update is compared with: the trust region, or a target."""
    for field, name in (("max_kl", "≤"), ("target_kl", "target")):
        if (bound := getattr(config.algorithm, field, None)) is not None:
            return name, bound
    return "", None


def progress(step: int, steps: int, inner: int) -> RenderableType:
    """A bar, the share of the steps that are made, and their number."""
    share, count = min(step / steps, 1.0), f"{step:,} of {steps:,}"
    table = Table.grid(padding=(0, 1), expand=True)
    table.add_column(ratio=1)
    table.add_column(justify="right", no_wrap=True)
    table.add_column(justify="right", no_wrap=True)
    width = max(inner - len(count) - 8, 8)
    table.add_row(ProgressBar(total=1.0, completed=share, width=width), f"{share:.0%}", count)
    return table


def with_course(value: str, course: Sparkline, room: int) -> Text:
    """A number and its curve."""
    return Text.assemble(
        (f"{value:<{VALUE}}", "bold"), " ", (course.drawn(room - VALUE - 2), "cyan")
    )


def listed(rows: Sequence[tuple[str, RenderableType]]) -> Table:
    """Names and what is to be said of each, one below the other."""
    table = Table.grid(padding=(0, 1), expand=True)
    table.add_column(style="dim", width=LABEL, overflow="fold")
    table.add_column(ratio=1, overflow="fold")
    for name, said in rows:
        table.add_row(name, said)
    return table


def side_by_side(cells: Sequence[tuple[str, Text]], columns: int) -> Table:
    """Names and numbers, so many beside each other."""
    table = Table.grid(padding=(0, 1), expand=True)
    for _ in range(columns):
        table.add_column(style="dim", width=LABEL)
        table.add_column(ratio=1, overflow="fold")
    for first in range(0, len(cells), columns):
        table.add_row(*(part for cell in cells[first : first + columns] for part in cell))
    return table


def print_next(console: Console, steps: Sequence[tuple[str, str]]) -> None:
    """Commands in one line each: the terminal wraps a long one, so that it can be copied."""
    for name, command in steps:
        console.print(Text.assemble((f"  {name:<15}", "dim"), command), soft_wrap=True)
