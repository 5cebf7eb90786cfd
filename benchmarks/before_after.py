"""Another checkout of klamp beside this one: how fast is it now, at equal work.

    git worktree add ../before COMMIT
    python benchmarks/before_after.py ../before

Each repeat starts two processes on one core and one thread, this checkout and the other, and lets
them take turns of a fraction of a second, so that what else the machine does falls on both. The
ratio is the other's time per environment step over this one's: 1.02 is two hundredths faster. A
repeat's figure is the median over its turns. Rows of whole commands are run by turns, after one
that is not counted, and compared by the wall: many seeds are trained by processes whose processor
time no other one sees. They need a quiet machine. What is measured is kept, row by row, in
results/before_after.json, and the table goes to results/before_after.md.
Environments written in JAX and EnvPool need the packages of requirements/fused.txt, and envpool.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

from harness import RESULTS, ROOT, commit_of, environment, write

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
    "PPO, HalfCheetah-v5, 1 × 2048": {
        "env": "HalfCheetah-v5",
        "num_envs": 1,
        "rollout_length": 2048,
    },
    "PPO, HalfCheetah-v5 in EnvPool, 8 × 256": {"own_env": "envpool:HalfCheetah-v5"},
    "PPO, CartPole written in JAX, 2048 × 32, minibatch 2048": {
        "own_env": "gymnax:CartPole-v1",
        "num_envs": 2048,
        "rollout_length": 32,
        "minibatch_size": 2048,
    },
    "PPO, HalfCheetah-v5, 4 × 512, 256×256": {
        "env": "HalfCheetah-v5",
        "num_envs": 4,
        "rollout_length": 512,
        "hidden_sizes": [256, 256],
        "iterations": 1,
    },
    "PPO with a GRU of 64, CartPole-v1, 8 × 128": {
        "rollout_length": 128,
        "minibatch_size": 128,
        "recurrent_size": 64,
        "iterations": 1,
    },
    "the update of PPO alone": {"kind": "update"},
    "the update of TRPO alone": TRPO | {"kind": "update"},
}
TRAIN = ("train", "CartPole-v1", "--quiet", "--steps")
COMMANDS: dict[str, tuple[bool, tuple[str, ...]]] = {
    "klamp train CartPole-v1, 100,000 steps, cold cache": (False, (*TRAIN, "100000")),
    "klamp train CartPole-v1, 100,000 steps, warm cache": (True, (*TRAIN, "100000")),
    "klamp train CartPole-v1 --seeds 10, 20,000 steps each, warm cache": (
        True,
        (*TRAIN, "20000", "--seeds", "10"),
    ),
}
"""Whether compiled programs are kept from one command to the next, and the command."""


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


def command_repeats(
    before: Path, warm: bool, arguments: tuple[str, ...], repeats: int, core: int
) -> list[float]:
    """A command in both checkouts by turns: the other's seconds over this one's."""
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        runs = count()

        def seconds(root: Path) -> float:
            number = next(runs)
            cache = scratch / (root.name if warm else f"cache-{number}")
            variables = environment(1, cache) | {"PYTHONPATH": str(root / "src")}
            command = [sys.executable, "-m", "klamp", *arguments]
            command += ["--out", str(scratch / f"run-{number}")]
            pinned = partial(os.sched_setaffinity, 0, {core})
            began = time.perf_counter()
            done = subprocess.run(
                command,
                env=variables,
                cwd=scratch,
                capture_output=True,
                preexec_fn=pinned,
                check=False,
            )
            if done.returncode:
                raise SystemExit(f"{' '.join(command)} failed:\n{done.stderr.decode()}")
            return time.perf_counter() - began

        for root in (before, ROOT):
            seconds(root)
        ratios: list[float] = []
        for turn in range(repeats):
            order = (before, ROOT) if turn % 2 == 0 else (ROOT, before)
            spent = {root: seconds(root) for root in order}
            ratios.append(spent[before] / spent[ROOT])
    return ratios


def page(rows: dict[str, dict[str, Any]]) -> str:
    """The table of what was measured, in the order of the rows."""
    lines = [
        "# This checkout beside the one before",
        "",
        "Time per step, before over now, by `python benchmarks/before_after.py`: 1.02 is two",
        "hundredths faster. Pairs of processes on one core and one thread, which take turns; whole",
        "commands by the wall, from the start of the process.",
        "",
        "| work | ratio, median | lowest to highest | pairs | turns | now | before |",
        "|---|---|---|---:|---:|---|---|",
    ]
    for title in filter(rows.__contains__, (*ROWS, *COMMANDS)):
        row = rows[title]
        shown = [f"{row['median']:.3f}", f"{row['low']:.3f} to {row['high']:.3f}"]
        shown += [str(row["pairs"]), str(row["turns"]) if title in ROWS else ""]
        lines.append(f"| {' | '.join([title, *shown, row['now'], row['before']])} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("before", type=Path)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--turns", type=int, default=12)
    parser.add_argument("--row", default="", help="a part of the names of the rows to run")
    parser.add_argument("--core", type=int, default=0)
    given = parser.parse_args()
    before, kept = given.before.resolve(), RESULTS / "before_after.json"
    for title in filter(lambda title: given.row in title, (*ROWS, *COMMANDS)):
        if title in ROWS:
            work = WORK | ROWS[title] | {"cores": [given.core]}
            ratios = [repeat(before, work, given.turns) for _ in range(given.repeats)]
        else:
            warm, arguments = COMMANDS[title]
            ratios = command_repeats(before, warm, arguments, given.repeats, given.core)
        rows = json.loads(kept.read_text()) if kept.exists() else {}
        rows[title] = {
            "median": statistics.median(ratios),
            "low": min(ratios),
            "high": max(ratios),
            "pairs": given.repeats,
            "turns": given.turns,
            "now": commit_of(ROOT),
            "before": commit_of(before),
        }
        print(title, json.dumps(rows[title]), flush=True)
        write(kept, json.dumps(rows, indent=1) + "\n")
        write(RESULTS / "before_after.md", page(rows))


if __name__ == "__main__":
    main()
