"""Another checkout of klamp beside this one: how fast is it now, at equal work.

    git worktree add ../before COMMIT
    python benchmarks/before_after.py ../before

Each row is run by a process of its own on one core and one thread, this checkout and the other in
turn; the ratio is the other's time for a step over this one's, so that 1.02 is two hundredths
faster. The table is written to results/before_after.md.
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
    "seed": 0,
    "hidden_sizes": [64, 64],
    "epochs": 10,
    "minibatch_size": 64,
    "cg_iterations": 15,
    "num_envs": 8,
    "rollout_length": 256,
    "warmup": 3,
    "iterations": 20,
    "seconds": 4.0,
    "cores": [0],
}
ROWS: dict[str, tuple[str, dict[str, Any]]] = {
    "PPO, CartPole-v1, 8 × 256": ("klamp", {"env": "CartPole-v1", "algorithm": "ppo"}),
    "TRPO, CartPole-v1, 8 × 512": (
        "klamp",
        {"env": "CartPole-v1", "algorithm": "trpo", "rollout_length": 512},
    ),
    "TRPO, CartPole-v1, 2 × 1024": (
        "klamp",
        {"env": "CartPole-v1", "algorithm": "trpo", "num_envs": 2, "rollout_length": 1024},
    ),
    "TRPO, Pendulum-v1, 8 × 256": ("klamp", {"env": "Pendulum-v1", "algorithm": "trpo"}),
    "PPO, HalfCheetah-v5, 4 × 512": (
        "klamp",
        {"env": "HalfCheetah-v5", "algorithm": "ppo", "num_envs": 4, "rollout_length": 512},
    ),
    "PPO, CartPole written in JAX, 8 × 256": (
        "klamp_fused",
        {"env": "CartPole-v1", "algorithm": "ppo"},
    ),
    "the update alone": ("klamp_update", {"env": "CartPole-v1", "algorithm": "ppo"}),
}


def seconds(root: Path, system: str, work: dict[str, Any], core: int) -> float:
    """Seconds for an environment step, of the checkout at ``root``."""
    with tempfile.TemporaryDirectory() as scratch:
        variables = environment(1, Path(scratch) / "cache")
        variables["PYTHONPATH"] = os.pathsep.join((str(root / "benchmarks"), str(root / "src")))
        done = subprocess.run(
            [sys.executable, "-m", f"systems.{system}", json.dumps(work | {"cores": [core]})],
            cwd=scratch,
            env=variables,
            capture_output=True,
            text=True,
            check=True,
        )
        found = json.loads(done.stdout.splitlines()[-1])
        spent: float = found["wall_s"] / found["steps"]
        return spent


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("before", type=Path)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--row", default="", help="a part of the names of the rows to run")
    parser.add_argument("--core", type=int, default=0)
    given = parser.parse_args()
    lines = ["| work | ratio, median | lowest to highest |", "|---|---|---|"]
    for title, (system, own) in ROWS.items():
        if given.row not in title:
            continue
        ratios: list[float] = []
        for _ in range(given.repeats):
            before = seconds(given.before.resolve(), system, WORK | own, given.core)
            now = seconds(ROOT, system, WORK | own, given.core)
            ratios.append(before / now)
        low, high = min(ratios), max(ratios)
        lines.append(f"| {title} | {statistics.median(ratios):.3f} | {low:.3f} to {high:.3f} |")
        print(lines[-1], flush=True)
    head = (
        "# This checkout beside the one before\n\nTime for a step, before over now, by "
        f"`python benchmarks/before_after.py`: {given.repeats} repeats in turn, one core, one "
        "thread.\n\n"
    )
    (RESULTS / "before_after.md").write_text(head + "\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
