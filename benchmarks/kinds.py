"""Every claimed triple of algorithm, actions and observations: trains, saves, loads, acts the same.

    python benchmarks/kinds.py [--workers 2] [--only 'trpo *']

Each triple trains three updates on a probe environment, and the policy that ``klamp.load`` gives
must have the same θ and act the same, by mode and by sample, as the one that was trained. Writes
``results/kinds.md`` and ``kinds.json`` after every triple, so that a run that was stopped goes on:
what passed at the same commit is not done again. Exits with 1 where a triple failed.

Most of the time is compilation. ``JAX_COMPILATION_CACHE_DIR`` lets a later run share it.
"""

import argparse
import fnmatch
import json
import multiprocessing
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import harness

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
    from klamp.config.algorithms import ALGORITHMS

    return [f"{a} | {o} | {c}" for a in ALGORITHMS for o in OBSERVATIONS for c in ACTIONS]


def check(name: str) -> tuple[str, str, float]:
    """The name, what went wrong ("" for nothing), and the seconds it took."""
    began = time.perf_counter()
    return name, wrong_with(name), time.perf_counter() - began


def wrong_with(name: str) -> str:
    """Train, save, load, act; what went wrong, or nothing."""
    import numpy as np
    from environments import probe

    import klamp

    algo, observation, action = name.split(" | ")
    space, settings = ACTIONS[action]
    small: dict[str, Any] = {} if observation == "image" else {"hidden_sizes": (8,)}
    small |= {"ppo": {"epochs": 1}, "ppo-kl": {"epochs": 1}, "a2c": {}}.get(
        algo, {"critic_epochs": 1}
    )
    try:
        with tempfile.TemporaryDirectory() as folder:
            env = probe(observation, space)
            result = klamp.train(
                env,
                algo,
                steps=UPDATES * ENVIRONMENTS * LENGTH,
                num_envs=ENVIRONMENTS,
                rollout_length=LENGTH,
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
        return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
    return ""


def main() -> int:
    """Run all that is left, say how it went, write the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--only", default="*", help="triples to run, a pattern such as 'trpo *'")
    parser.add_argument("--out", type=Path, default=harness.RESULTS, help="folder of the results")
    given = parser.parse_args()
    names = [name for name in triples() if fnmatch.fnmatch(name, given.only)]
    found = harness.resumed(given.out / "kinds.json", "triples")
    left = [name for name in names if found["triples"].get(name, {"wrong": "not run"})["wrong"]]
    print(f"{len(names)} triples, {len(names) - len(left)} of them passed before", flush=True)
    context = multiprocessing.get_context("spawn")
    with context.Pool(given.workers, maxtasksperchild=40) as pool:
        for done, (name, wrong, seconds) in enumerate(pool.imap_unordered(check, left), 1):
            print(f"{done}/{len(left)} {name}: {wrong or 'same'} ({seconds:.1f} s)", flush=True)
            found["triples"][name] = {"wrong": wrong, "seconds": round(seconds, 2)}
            harness.write(given.out / "kinds.json", json.dumps(found, indent=1) + "\n")
            harness.write(given.out / "kinds.md", page(found))
    return 1 if any(found["triples"][name]["wrong"] for name in names) else 0


def page(found: dict[str, Any]) -> str:
    """`kinds.md`: how many passed, by algorithm, and what failed."""
    about, machine, done = found["provenance"], found["machine"], found["triples"]
    passed = [name for name in done if not done[name]["wrong"]]
    wanted = triples()
    lines = [
        "# Kinds",
        "",
        "Made by `python benchmarks/kinds.py`: every triple of algorithm, observations and actions",
        f"trains {UPDATES} updates on a probe environment and is saved; the policy that is loaded",
        "has the same θ, bit for bit, and its episodes the same returns, by mode and by sample.",
        "",
        f"**{len(passed)} of {len(wanted)} triples passed**"
        + (f"; {len(wanted) - len(done)} not run." if len(done) < len(wanted) else "."),
        "",
        f"- klamp {about['klamp']} at {about.get('commit', 'an unknown commit')}, {about['date']}",
        f"- {machine['processor']}; {machine['cores']} cores, {machine['memory_gib']} GiB, "
        f"{machine['system']}, Python {machine['python']}",
        f"- observations: {', '.join(OBSERVATIONS)}",
        f"- actions: {'; '.join(ACTIONS)}",
        "",
        "| algorithm | passed | failed | not run |",
        "|---|---:|---:|---:|",
    ]
    for algo in dict.fromkeys(name.split(" | ")[0] for name in wanted):
        of_algo = [name for name in wanted if name.startswith(f"{algo} | ")]
        ran = [name for name in of_algo if name in done]
        good = sum(not done[name]["wrong"] for name in ran)
        lines.append(f"| {algo} | {good} | {len(ran) - good} | {len(of_algo) - len(ran)} |")
    wrong = [f"- {name}: {done[name]['wrong']}" for name in done if done[name]["wrong"]]
    return "\n".join([*lines, *(["", *wrong] if wrong else [])]) + "\n"


if __name__ == "__main__":
    sys.exit(main())
