"""Short runs in this checkout and in another: which of their numbers differ.

    git worktree add ../before COMMIT
    python benchmarks/same_bytes.py ../before

Every run is 6 updates of 4 × 64 steps. Compared to the bit are the parameters at the end, and in
each line of `metrics.jsonl` whatever both checkouts write, times apart. Exits with 1 where
something differs; the table is written to results/same_bytes.md.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from harness import RESULTS, ROOT, commit_of

SMALL: dict[str, Any] = {"steps": 1536, "num_envs": 4, "rollout_length": 64, "hidden_sizes": [16]}
RUNS: dict[str, tuple[str, str, dict[str, Any]]] = {
    **{
        f"{algo}, CartPole": ("CartPole-v1", algo, {})
        for algo in ("ppo", "trpo", "npg", "a2c", "reinforce", "ppo-kl")
    },
    "trpo, Pendulum, rewards normalised": ("Pendulum-v1", "trpo", {"normalize_reward": True}),
    "ppo, Pendulum, Beta": ("Pendulum-v1", "ppo", {"action_bounds": "beta"}),
    "ppo, Pendulum, dropout": ("Pendulum-v1", "ppo", {"dropout": 0.1, "normalize_reward": True}),
    "ppo, Taxi": ("Taxi-v4", "ppo", {}),
    "ppo, CartPole, recurrent": ("CartPole-v1", "ppo", {"recurrent_size": 8, "sequence_length": 8}),
    "ppo, HalfCheetah": (
        "HalfCheetah-v5",
        "ppo",
        # What its preset says has changed.
        {"initial_log_std": 0.0, "final_learning_rate": None},
    ),
    "ppo, CartPole written in JAX": ("CartPole", "ppo", {"normalize_observation": False}),
    "trpo, written in JAX, normalised": (
        "Walk",
        "trpo",
        {"normalize_observation": True, "normalize_reward": True},
    ),
}
MENDED = """What differs from the commit before the folders (the parent of 7688e49), and why.
`effective_sample_size` is computed without overflow (weights beyond 1e19 made it NaN); rewards and
discounted returns of environments written in JAX are summed in float64 by the host's function, not
in float32 on the device, so that normalised rewards are what the host's would be. TRPO differs
from commits before 329c191, where the bound was put on the largest KL that rounding leaves room
for, and not on the measured one.
"""
"""Defects that were mended since."""
CLOCKS = ("time_s", "steps_per_second")
CHILD = """
import json, sys, warnings
import numpy as np
warnings.simplefilter("ignore")
import jax_environments, klamp
env, algo, settings, out = json.loads(sys.argv[1])
env = getattr(jax_environments, env)() if hasattr(jax_environments, env) else env
result = klamp.train(env, algo, out=out, quiet=True, **settings)
print(json.dumps([np.asarray(result.policy.theta).tobytes().hex(), result.metrics]))
"""


def trained(root: Path, run: tuple[str, str, dict[str, Any]]) -> tuple[str, list[dict[str, Any]]]:
    """θ and the lines of metrics of one run, by the checkout at ``root``."""
    env, algo, more = run
    with tempfile.TemporaryDirectory() as scratch:
        path = os.pathsep.join((str(root / "src"), str(root / "tests")))
        what = json.dumps([env, algo, SMALL | more, str(Path(scratch) / "run")])
        done = subprocess.run(
            [sys.executable, "-c", CHILD, what],
            cwd=scratch,
            env=os.environ | {"PYTHONPATH": path},
            capture_output=True,
            text=True,
            check=True,
        )
        theta, metrics = json.loads(done.stdout.splitlines()[-1])
        return theta, metrics


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("before", type=Path)
    given = parser.parse_args()
    rows, differing = ["| run | θ | metrics that differ |", "|---|---|---|"], 0
    for name, run in RUNS.items():
        (old, then), (new, now) = trained(given.before.resolve(), run), trained(ROOT, run)
        keys = {
            key
            for one, two in zip(then, now, strict=True)
            for key in (one.keys() & two.keys()) - {*CLOCKS}
            if one[key] != two[key]
        }
        differing += old != new or bool(keys)
        said = ", ".join(f"`{key}`" for key in sorted(keys)) or "none"
        rows.append(f"| {name} | {'equal' if old == new else 'differs'} | {said} |")
        print(rows[-1], flush=True)
    beside = commit_of(given.before)
    head = f"# The same bytes\n\n`python benchmarks/same_bytes.py`, beside {beside}.\n\n"
    (RESULTS / "same_bytes.md").write_text(head + MENDED + "\n" + "\n".join(rows) + "\n")
    return 1 if differing else 0


if __name__ == "__main__":
    raise SystemExit(main())
