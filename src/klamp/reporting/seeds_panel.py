"""Many runs on a terminal: one panel with one row per seed, and a table that stays."""

from collections.abc import Sequence
from typing import Any, TextIO

from rich.box import ROUNDED
from rich.console import Console, ConsoleOptions, Group, RenderResult
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from klamp.reporting.format import duration, number
from klamp.reporting.panel import WIDE, print_next, progress, redrawn, terminal
from klamp.reporting.seeds_progress import (
    BEGUN,
    DONE,
    FAILED,
    REFUSED,
    UPDATE,
    Member,
    Progress,
)

NARROW = 72
"""With fewer columns, refused updates are shown above the panel only."""

AROUND = 8
"""Lines of the panel besides the rows."""


class SeedsPanel:
    """One row per seed, redrawn in place; events are printed above it."""

    def __init__(self, progress: Progress, file: TextIO) -> None:
        self.progress = progress
        self._console = terminal(file)
        self._live = redrawn(self._console, self)

    def start(self) -> None:
        """Show the panel."""
        self._live.start(refresh=True)

    def hear(self, kind: str, seed: int, told: Any, /) -> None:
        """Take in a message of a run; problems are printed above the panel."""
        self.progress.hear(kind, seed, told)
        if kind in (REFUSED, FAILED):
            self._console.print(f"seed {seed}: {told}", style="yellow")

    def finish(self, next_steps: list[tuple[str, str]], /) -> None:
        """Replace the panel by a table of all runs, and what to do next."""
        self._live.stop()
        members = list(self.progress.members.items())
        self._console.print(
            Panel(
                Group(self._table(members, self._console.width - 4), self.progress.returns()),
                title="Done",
                title_align="left",
                box=ROUNDED,
                border_style="green",
            )
        )
        print_next(self._console, next_steps)

    def close(self) -> None:
        """Take the panel away."""
        self._live.stop()

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """The panel as it is now, in the width and height that there is."""
        inner, progress_ = max(options.max_width - 4, 20), self.progress
        members = shown(list(progress_.members.items()), max(console.height - AROUND, 3))
        left = progress_.pace.left
        coming = "estimating the time left" if left is None else f"{duration(left)} left"
        parts = [f"{duration(progress_.pace.elapsed)} elapsed", coming, progress_.returns()]
        title = f"{progress_.done} of {len(progress_.members)} seeds done"
        if len(members) < len(progress_.members):
            title += f" · {len(progress_.members) - len(members)} not shown"
        yield Panel(
            Group(
                progress(progress_.step, progress_.total, inner),
                self._table(members, inner),
                Text(" · ".join(parts), style="dim"),
            ),
            title=title,
            title_align="left",
            box=ROUNDED,
            border_style="dim",
        )

    def _table(self, members: Sequence[tuple[int, Member]], inner: int) -> Table:
        """One row per seed."""
        table = Table(box=None, padding=(0, 1, 0, 0), expand=True, header_style="dim")
        names = ["seed", "", "return", "", "KL", "entropy"]
        names += ["refused"] if inner >= NARROW else []
        names += ["explained variance", "steps per second"] if inner >= WIDE else []
        for place, name in enumerate(names):
            is_course = place == 3
            table.add_column(
                name,
                ratio=1 if is_course else None,
                justify="left" if is_course else "right",
                overflow="fold",
            )
        room = max(inner - (44 if inner < NARROW else 54 if inner < WIDE else 92), 4)
        for seed, member in members:
            table.add_row(*_cells(seed, member, self.progress.config.settings.steps, room, names))
        return table


def _cells(seed: int, member: Member, steps: int, room: int, names: list[str]) -> list[Text]:
    """A row: the progress of one run, and its last figures."""
    metrics, state = member.metrics, member.state
    style = {DONE: "green", FAILED: "bold red"}.get(state, "")
    far = f"{min(member.step / steps, 1.0):.0%}" if state == UPDATE else state
    kl, entropy = metrics.get("kl"), metrics.get("entropy")
    cells = {
        "seed": Text(str(seed)),
        "return": Text(number(metrics.get("return_mean")), style="bold"),
        "KL": Text("–" if kl is None else f"{kl:.4f}"),
        "entropy": Text("–" if entropy is None else f"{entropy:.3g}"),
        "refused": Text(f"{metrics.get('updates_refused', 0):,}"),
        "explained variance": Text(number(metrics.get("explained_variance"))),
        "steps per second": Text(f"{metrics.get('steps_per_second', 0):,.0f}"),
    }
    unnamed = [Text(far, style=style), Text(member.course.drawn(room), style="cyan")]
    return [cells[name] if name else unnamed.pop(0) for name in names]


def shown(members: list[tuple[int, Member]], most: int) -> list[tuple[int, Member]]:
    """The rows that fit: runs that train come before those that wait or are done."""
    if len(members) <= most:
        return members
    order = [BEGUN, "compiling", UPDATE, FAILED, "waiting", DONE]
    first = sorted(members, key=lambda pair: order.index(pair[1].state))[:most]
    return sorted(first)
