"""Speed beside peers: the same work, one core, one thread each, interleaved, in one run.

``python benchmarks/speed.py`` builds an environment with the peers once, runs every row, and
writes `results/speed.md`, `speed.json` and `speed.png`. Add a peer by a worker in `systems/` and
its name in a row; add a row by an entry in ``ROWS``.
"""

import argparse
import fnmatch
import json
import os
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import harness
import speed_report

SYSTEMS = {
    "klamp": "klamp",
    "sb3": "Stable-Baselines3",
    "sb3_contrib": "sb3-contrib",
    "bare": "bare environment",
}
"""The workers in `systems/`, and how the tables call them."""

OWN_PYTHON = ("klamp", "bare")
"""The workers that this interpreter runs; all others are run by the peers' interpreter."""


@dataclass(frozen=True)
class Row:
    """One piece of work, and who does it."""

    name: str
    title: str
    systems: tuple[str, ...]
    algorithm: str
    env: str
    num_envs: int
    rollout_length: int
    epochs: int = 10
    """Of PPO, or of the critic after a natural step."""
    minibatch_size: int = 64
    hidden_sizes: tuple[int, ...] = (64, 64)
    cg_iterations: int = 15
    at_least: float | None = None
    """The ratio klamp / peer that the median must reach; None: for information."""


ROWS = (
    Row(
        name="ppo-cartpole",
        title="PPO, CartPole-v1: 8 environments × 256 steps, 10 epochs, minibatch 64, 64×64 tanh",
        systems=("klamp", "sb3", "bare"),
        algorithm="ppo",
        env="CartPole-v1",
        num_envs=8,
        rollout_length=256,
        at_least=10.0,
    ),
    Row(
        name="trpo-cartpole",
        title="TRPO, CartPole-v1: 8 environments × 256 steps, 15 CG iterations, "
        "10 critic epochs of minibatch 64, 64×64 tanh",
        systems=("klamp", "sb3_contrib"),
        algorithm="trpo",
        env="CartPole-v1",
        num_envs=8,
        rollout_length=256,
        at_least=5.0,
    ),
    Row(
        name="ppo-halfcheetah",
        title="PPO, HalfCheetah-v5: 1 environment × 2048 steps, 10 epochs, minibatch 64, "
        "64×64 tanh",
        systems=("klamp", "sb3", "bare"),
        algorithm="ppo",
        env="HalfCheetah-v5",
        num_envs=1,
        rollout_length=2048,
    ),
)


def main() -> None:
    """Parse, measure, print, write."""
    options = arguments()
    rows = [row for row in ROWS if fnmatch.fnmatch(row.name, options.only)]
    if not rows:
        raise SystemExit(f"No row is called {options.only!r}: {', '.join(r.name for r in ROWS)}")
    document: dict[str, Any] = {
        "provenance": harness.provenance(),
        "machine": harness.machine(),
        "protocol": {
            "repeats": options.repeats,
            "warmup_iterations": options.warmup,
            "timed_iterations": options.iterations,
            "threads": 1,
        },
        "names": SYSTEMS,
        "rows": [{"row": asdict(row), "runs": {name: [] for name in row.systems}} for row in rows],
    }
    measure(document, options)
    text = speed_report.summarise(document)
    print("\n" + text)
    if options.out is None and options.only != "*":
        print("Only some rows were run: nothing is written without --out.")
        return
    folder = options.out or harness.RESULTS
    harness.write(folder / "speed.json", json.dumps(document, indent=1) + "\n")
    harness.write(folder / "speed.md", text)
    speed_report.plot(document, folder / "speed.png")
    print(f"Written: {folder}/speed.md, speed.json, speed.png")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--only", default="*", help="rows to run, a pattern such as 'ppo-*'")
    parser.add_argument("--repeats", type=int, default=5, help="interleaved repeats")
    parser.add_argument("--warmup", type=int, default=3, help="iterations before the clock starts")
    parser.add_argument("--iterations", type=int, default=10, help="iterations that are timed")
    parser.add_argument("--seconds", type=float, default=4.0, help="least time of fast systems")
    core = max(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 0
    parser.add_argument("--core", type=int, default=core, help="the core that all are pinned to")
    parser.add_argument("--out", type=Path, help="folder of the results (benchmarks/results)")
    parser.add_argument("--peers-python", help="an interpreter that has the peers already")
    return parser.parse_args()


def measure(document: dict[str, Any], options: argparse.Namespace) -> None:
    """Fill in the runs: all systems of a row one after the other, in turning order."""
    own, peers = sys.executable, harness.peers_python(options.peers_python)
    for repeat in range(options.repeats):
        for part in document["rows"]:
            work = part["row"] | {
                "seed": repeat,
                "core": options.core,
                "warmup": options.warmup,
                "iterations": options.iterations,
                "seconds": options.seconds,
            }
            systems = part["row"]["systems"]
            for system in systems if repeat % 2 == 0 else reversed(systems):
                python = own if system in OWN_PYTHON else peers
                result = harness.run_worker(python, system, work)
                part["runs"][system].append(result)
                speed = speed_report.one_line(result)
                name = f"{part['row']['name']:18}{SYSTEMS[system]:20}"
                print(f"repeat {repeat + 1}/{options.repeats}  {name}{speed}", flush=True)


if __name__ == "__main__":
    main()
