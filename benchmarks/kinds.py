"""Every claimed triple of algorithm, actions and observations: trains, saves, loads, acts the same.

    python benchmarks/kinds.py [--workers 2] [--only 'trpo *']

Each triple trains three updates on a probe environment, and the policy that ``klamp.load`` gives
must have the same θ and act the same, by mode and by sample, as the one that was trained. Writes
``results/kinds.md``; exits with 1 where a triple failed.
"""

import argparse
import fnmatch
import multiprocessing
import sys
import tempfile
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "tests"))

OBSERVATIONS = ("box", "image", "discrete", "multidiscrete", "multibinary", "dict", "tuple")
ACTIONS: dict[str, tuple[str, dict[str, Any]]] = {
    "discrete": ("discrete", {}),
    "multidiscrete": ("multidiscrete", {}),
    "multibinary": ("multibinary", {}),
    "box": ("box", {}),
    "box, tanh": ("box", {"action_bounds": "tanh"}),
    "box, beta": ("box", {"action_bounds": "beta"}),
    "dict": ("dict", {}),
    "tuple": ("tuple", {}),
}
UPDATES, ENVIRONMENTS, LENGTH = 3, 2, 8


def triples() -> list[str]:
    """All names, an algorithm, an observation and an action each."""
    from klamp.config import ALGORITHMS

    return [f"{a} | {o} | {c}" for a in ALGORITHMS for o in OBSERVATIONS for c in ACTIONS]


def check(name: str) -> tuple[str, str]:
    """The name, and what went wrong ("" for nothing)."""
    import numpy as np
    from environments import probe

    import klamp

    algo, observation, action = name.split(" | ")
    space, settings = ACTIONS[action]
    small = {"epochs": 1} if algo.startswith("ppo") else {}
    try:
        with tempfile.TemporaryDirectory() as folder:
            env = probe(observation, space)
            result = klamp.train(
                env,
                algo,
                steps=UPDATES * ENVIRONMENTS * LENGTH,
                num_envs=ENVIRONMENTS,
                rollout_length=LENGTH,
                hidden_sizes=(8,),
                critic_epochs=1,
                out=Path(folder) / "run",
                quiet=True,
                **settings,
                **small,
            )
            assert len(result.metrics) == UPDATES, f"{len(result.metrics)} updates"
            loaded = klamp.load(result.folder)
            np.testing.assert_array_equal(loaded.theta, result.policy.theta)
            for mode in (True, False):
                a, b = (
                    klamp.evaluate(policy, episodes=2, deterministic=mode)
                    for policy in (loaded, result.policy)
                )
                np.testing.assert_array_equal(a.returns, b.returns)
    except Exception as error:
        return name, f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
    return name, ""


def main() -> int:
    """Run all, say how it went, write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--only", default="*")
    given = parser.parse_args()
    names = [name for name in triples() if fnmatch.fnmatch(name, given.only)]
    failed: dict[str, str] = {}
    context = multiprocessing.get_context("spawn")
    with context.Pool(given.workers, maxtasksperchild=40) as pool:
        for done, (name, wrong) in enumerate(pool.imap_unordered(check, names), 1):
            print(f"{done}/{len(names)} {name}: {wrong or 'same'}", flush=True)
            if wrong:
                failed[name] = wrong
    if given.only == "*":
        lines = [
            "# Kinds",
            "",
            "Made by `python benchmarks/kinds.py`: every triple of algorithm, observations and",
            f"actions trains {UPDATES} updates on a probe, is saved and loaded, and acts the same.",
            "",
            f"{len(names) - len(failed)} of {len(names)} triples passed.",
            *(f"- {name}: {wrong}" for name, wrong in failed.items()),
        ]
        (HERE / "results" / "kinds.md").write_text("\n".join(lines) + "\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
