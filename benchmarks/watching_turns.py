"""What watching a run costs it, switched on and off every second within one run.

    python benchmarks/watching_turns.py [--steps 1600000] [--algo ppo]

The speeds of two processes differ by a tenth on a machine that others use, by more than watching
costs. Here panel, `csv`, `tensorboard` and the board take turns with nothing, in one process: the
logs are passed over, the panel is not redrawn, and the board is stopped (SIGSTOP) while watching is
off. The time of a turn is compared with the mean of those before and after it. Beside it stands the
processor time that each part takes of the process that trains. Both go to
benchmarks/results/watching_turns.md.
"""

import argparse
import json
import os
import signal
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from harness import RESULTS, provenance, write
from watching import Board, on_a_terminal

UPDATES = 20
"""Of a turn: about a second of PPO or TRPO on CartPole-v1, in which the panel is drawn once."""
HEAD = "# Switched on and off within one run"
PARTS = ("tensorboard", "csv", "panel, at an update", "panel, redrawn")


class Turns:
    """Switches watching on and off, and keeps the time of each turn."""

    def __init__(self, board: int) -> None:
        self.on, self._board = True, board
        self._began, self._updates = time.perf_counter(), 0
        self.seconds: list[tuple[bool, float]] = []
        self.spent = dict.fromkeys(PARTS, 0.0)

    def update(self, event: Any) -> None:
        """An update was made; called before the logs are."""
        self._updates += 1
        if self._updates % UPDATES == 0:
            now = time.perf_counter()
            self.seconds.append((self.on, now - self._began))
            self._began, self.on = now, not self.on
            os.kill(self._board, signal.SIGCONT if self.on else signal.SIGSTOP)

    def take(self, kind: Any, method: str, part: str) -> None:
        """Have a method do nothing while watching is off, and count its processor time."""
        true = getattr(kind, method)

        def taken(*given: Any) -> None:
            if self.on or not self.seconds:
                before = time.thread_time()
                true(*given)
                self.spent[part] += time.thread_time() - before

        setattr(kind, method, taken)


def trained(algo: str, steps: int, board: int, out: Path) -> None:
    """One run, whose turns are written to a file."""
    import klamp
    from klamp.reporting import csv, panel, tensorboard

    turns = Turns(board)
    kinds = (tensorboard.TensorBoardLog, csv.CsvLog, panel.RunPanel, panel.Live)
    methods = ("update", "update", "update", "refresh")
    for kind, method, part in zip(kinds, methods, PARTS, strict=True):
        turns.take(kind, method, part)
    report: Any = [turns, "tensorboard", "csv"]
    klamp.train("CartPole-v1", algo, steps=steps, out=out / "run", report=report)
    out.with_suffix(".json").write_text(json.dumps([turns.seconds, turns.spent]))


def measured(algo: str, steps: int) -> str:
    """A row of the table."""
    with tempfile.TemporaryDirectory() as name:
        out = Path(name) / "runs"
        out.mkdir()
        board = Board(out)
        try:
            here = [sys.executable, __file__, "--board", str(board.pid), "--out", str(out)]
            on_a_terminal([*here, "--algo", algo, "--steps", str(steps)])
        finally:
            os.kill(board.pid, signal.SIGCONT)
            board.close()
        seconds, spent = json.loads(out.with_suffix(".json").read_text())
    # The first turn compiles, and the last may be cut.
    times = [took for _, took in seconds]
    inside = range(2, len(times) - 1)
    ratios = [(times[n - 1] + times[n + 1]) / 2 / times[n] for n in inside if seconds[n][0]]
    watched = sum(took for on, took in seconds[1:] if on)
    low, middle, high = statistics.quantiles(ratios, n=4)
    shares = " | ".join(f"{spent[part] / watched:.2%}" for part in PARTS)
    ratio = f"{middle:.3f} | {low:.3f} to {high:.3f}"
    return f"| {algo.upper()}, CartPole-v1 | {len(ratios)} | {ratio} | {shares} |"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=int, default=1_600_000)
    parser.add_argument("--algo", choices=["ppo", "trpo"])
    parser.add_argument("--board", type=int, help="for the process that trains")
    parser.add_argument("--out", type=Path, help="for the process that trains")
    given = parser.parse_args()
    if given.board is not None:
        trained(given.algo, given.steps, given.board, given.out)
        return
    rows = [
        measured(algo, given.steps) for algo in ([given.algo] if given.algo else ["ppo", "trpo"])
    ]
    print(*rows, sep="\n")
    lines = [
        HEAD, "",
        f"Made by `python benchmarks/watching_turns.py --steps {given.steps}` at commit",
        f"{provenance().get('commit', '?')}: the speed of turns of {UPDATES} updates that are",
        "watched, over that of the turns before and after; and the processor time of each part in",
        "the process that trains, as a share of the time of these turns.",
        "",
        f"| work | turns | ratio, median | middle half | {' | '.join(PARTS)} |",
        "|---|---|---|---|---|---|---|---|",
        *rows, "",
    ]  # fmt: skip
    write(RESULTS / "watching_turns.md", "\n".join(lines))


if __name__ == "__main__":
    main()
