"""What watching a run costs it: board, terminal, TensorBoard and CSV on, against `--quiet`.

    python benchmarks/watching.py [--repeats 5] [--steps 300000]

Both are `klamp train` in a process of its own, in turn, with a seed per repeat. The one that is
watched draws its panel on a pseudo-terminal that is read, writes event files and tables, and a
board that follows its folder is asked for its page twice a second, as a browser does. The figure is
the ratio of their speeds, steps over the seconds that neither compiled nor evaluated, repeat by
repeat. The table goes to benchmarks/results/watching.md.
"""

import argparse
import json
import os
import pty
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import urllib.request
from pathlib import Path

from harness import RESULTS, machine, provenance, write

WORK = {
    "PPO, CartPole-v1": ["CartPole-v1", "--algo", "ppo"],
    "TRPO, CartPole-v1": ["CartPole-v1", "--algo", "trpo"],
}
KLAMP = [sys.executable, "-m", "klamp"]


def speed(folder: Path) -> float:
    """Environment steps per second of training."""
    summary = json.loads((folder / "summary.json").read_text())
    return summary["step"] / (summary["wall_s"] - summary["compile_s"] - summary.get("eval_s", 0.0))


def drained(handle: int) -> None:
    """Read a terminal until nobody writes to it."""
    try:
        while os.read(handle, 65536):
            pass
    except OSError:
        return


def on_a_terminal(command: list[str]) -> None:
    """Run a command on a terminal of 80 columns that somebody reads."""
    ours, theirs = pty.openpty()
    reader = threading.Thread(target=drained, args=(ours,))
    reader.start()
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "80", "LINES": "40"}
    subprocess.run(command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment, check=True)
    os.close(theirs)
    reader.join()
    os.close(ours)


class Board:
    """A board that is asked for its page, as a browser does."""

    def __init__(self, runs: Path) -> None:
        command = [*KLAMP, "board", str(runs), "--port", "0"]
        self._process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        assert self._process.stdout is not None
        self.pid = self._process.pid
        line = ""
        while not (found := re.search(r"http://127\.0\.0\.1:\d+", line)):
            line = self._process.stdout.readline()
            assert line, "the board has ended"
        self._address, self._over = found[0], threading.Event()
        self.asked = 0
        self._thread = threading.Thread(target=self._ask)
        self._thread.start()

    def _ask(self) -> None:
        while not self._over.wait(0.5):
            with urllib.request.urlopen(self._address, timeout=30) as answer:
                answer.read()
            self.asked += 1

    def close(self) -> None:
        """End it."""
        self._over.set()
        self._thread.join()
        self._process.terminate()
        self._process.wait()


def measured(words: list[str], steps: int, seed: int) -> tuple[float, float]:
    """The speed of a quiet run, and of one that is watched; the order changes by the seed."""
    speeds: dict[str, float] = {}
    common = ["--steps", str(steps), "--seed", str(seed), "--out"]
    for kind in ("quiet", "watched") if seed % 2 else ("watched", "quiet"):
        with tempfile.TemporaryDirectory() as there:
            folder = Path(there) / "run"
            command = [*KLAMP, "train", *words, *common, str(folder)]
            if kind == "quiet":
                subprocess.run([*command, "--quiet"], check=True)
            else:
                board = Board(Path(there))
                try:
                    on_a_terminal([*command, "--log", "tensorboard", "csv"])
                    assert board.asked
                finally:
                    board.close()
            speeds[kind] = speed(folder)
    return speeds["quiet"], speeds["watched"]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--steps", type=int, default=300_000)
    given = parser.parse_args()
    rows: list[str] = []
    for name, words in WORK.items():
        pairs = [measured(words, given.steps, seed) for seed in range(given.repeats)]
        ratios = sorted(watched / quiet for quiet, watched in pairs)
        quiet = statistics.median(quiet for quiet, _ in pairs)
        row = (
            f"| {name} | {quiet:,.0f} | {statistics.median(ratios):.3f} | "
            f"{ratios[0]:.3f} to {ratios[-1]:.3f} |"
        )
        print(row, flush=True)
        rows.append(row)
    write(RESULTS / "watching.md", page(rows, given.repeats, given.steps))


def page(rows: list[str], repeats: int, steps: int) -> str:
    made, here = provenance(), machine()
    command = f"python benchmarks/watching.py --repeats {repeats} --steps {steps}"
    return "\n".join(
        [
            "# What watching a run costs it",
            "",
            f"Made by `{command}` at commit {made.get('commit', '?')} on {here['processor']}, "
            f"{here['cores']} cores:",
            "training with the panel on a terminal, `--log tensorboard csv` and a board that is",
            "asked for its page twice a second, beside the same with `--quiet`, in turn. The board",
            "is another process: where no core is free, it takes from the run what it computes.",
            "",
            "| work | steps/s with `--quiet` | ratio of the speeds, median | range |",
            "|---|---|---|---|",
            *rows,
            "",
        ]
    )


if __name__ == "__main__":
    main()
