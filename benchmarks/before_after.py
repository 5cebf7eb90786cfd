"""Another checkout of klamp beside this one: how fast is it now, at equal work.

    git worktree add ../before COMMIT
    python benchmarks/before_after.py ../before

Each repeat starts two processes on one core and one thread, this checkout and the other, and lets
them take turns of a fraction of a second, so that what else the machine does falls on both. The
ratio is the other's time per environment step over this one's: 1.02 is two hundredths faster. A
repeat's figure is the median over its turns. The table goes to results/before_after.md.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from harness import RESULTS, ROOT, environment

WORK: dict[str, Any] = {
    "kind": "whole",
    "env": "CartPole-v1",
    "algorithm": "ppo",
    "seed": 0,
    "hidden_sizes": [64, 64],
    "epochs": 10,
    "minibatch_size": 64,
    "cg_iterations": 15,
    "num_envs": 8,
    "rollout_length": 256,
    "warmup": 3,
    "iterations": 5,
}
TRPO = {"algorithm": "trpo"}
ROWS: dict[str, dict[str, Any]] = {
    "PPO, CartPole-v1, 8 × 256": {},
    "TRPO, CartPole-v1, 8 × 512": TRPO | {"rollout_length": 512},
    "TRPO, CartPole-v1, 2 × 1024": TRPO | {"num_envs": 2, "rollout_length": 1024},
    "TRPO, Pendulum-v1, 8 × 256": TRPO | {"env": "Pendulum-v1"},
    "PPO, HalfCheetah-v5, 4 × 512": {"env": "HalfCheetah-v5", "num_envs": 4, "rollout_length": 512},
    "PPO, CartPole written in JAX, 8 × 256": {"own_env": "gymnax:CartPole-v1", "iterations": 8},
    "the update of PPO alone": {"kind": "update"},
    "the update of TRPO alone": TRPO | {"kind": "update"},
}


class Checkout:
    """A process of one checkout, warmed up, that works when it is told to."""

    def __init__(self, root: Path, work: dict[str, Any], scratch: Path) -> None:
        variables = environment(1, scratch / "cache")
        paths = (ROOT / "benchmarks", root / "src")
        variables["PYTHONPATH"] = os.pathsep.join(map(str, paths))
        command = [sys.executable, "-m", "systems.klamp_stretches", json.dumps(work)]
        self.process = subprocess.Popen(
            command,
            cwd=scratch,
            env=variables,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def line(self) -> str:
        """The next line that it prints."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline().strip()
        if not line:
            _, said = self.process.communicate()
            raise SystemExit(f"A process ended early:\n{said}")
        return line

    def seconds(self) -> float:
        """One stretch; seconds per environment step."""
        assert self.process.stdin is not None
        self.process.stdin.write("go\n")
        self.process.stdin.flush()
        found = json.loads(self.line())
        spent: float = found["wall_s"] / found["steps"]
        return spent

    def close(self) -> None:
        """End the process."""
        self.process.communicate()


def repeat(before: Path, work: dict[str, Any], turns: int) -> float:
    """One pair of processes: the median over their turns of the other's time over this one's."""
    with tempfile.TemporaryDirectory() as folder:
        scratch = [Path(folder) / name for name in ("before", "now")]
        for path in scratch:
            path.mkdir()
        pair = [Checkout(before, work, scratch[0]), Checkout(ROOT, work, scratch[1])]
        for one in pair:
            assert one.line() == "ready"
        ratios: list[float] = []
        for turn in range(turns):
            # Who begins changes, so that neither always follows the other.
            order = pair if turn % 2 == 0 else pair[::-1]
            spent = {id(one): one.seconds() for one in order}
            ratios.append(spent[id(pair[0])] / spent[id(pair[1])])
        for one in pair:
            one.close()
    return statistics.median(ratios)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("before", type=Path)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--turns", type=int, default=12)
    parser.add_argument("--row", default="", help="a part of the names of the rows to run")
    parser.add_argument("--core", type=int, default=0)
    given = parser.parse_args()
    lines = ["| work | ratio, median | lowest to highest |", "|---|---|---|"]
    for title, own in ROWS.items():
        if given.row not in title:
            continue
        work = WORK | own | {"cores": [given.core]}
        before = given.before.resolve()
        ratios = [repeat(before, work, given.turns) for _ in range(given.repeats)]
        low, high = min(ratios), max(ratios)
        lines.append(f"| {title} | {statistics.median(ratios):.3f} | {low:.3f} to {high:.3f} |")
        print(lines[-1], flush=True)
    head = (
        "# This checkout beside the one before\n\nTime per step, before over now, by "
        f"`python benchmarks/before_after.py`: {given.repeats} pairs of processes on one core and "
        f"one thread, {given.turns} turns each.\n\n"
    )
    if not given.row:
        (RESULTS / "before_after.md").write_text(head + "\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
