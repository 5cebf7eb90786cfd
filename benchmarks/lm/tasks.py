"""How well the built-in tasks are learnt: ``python benchmarks/lm/tasks.py [ROW …] [--seeds N]``.

Each row is trained with the task's own settings, some seeds one after the other, and judged on
1,024 new episodes, sampled and greedy. Written to `results/lm_tasks.md`; rows that are not asked
for keep their figures, which are in `results/lm_tasks.json`.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from harness import RESULTS, machine, provenance, write

ROWS: dict[str, tuple[str, str, dict[str, Any]]] = {
    # name: task, algorithm, what differs from the task's own settings
    "sort": ("sort", "ppo", {}),
    "addition": ("addition", "ppo", {}),
    "walks": ("walks", "ppo", {}),
    "guess": ("guess", "ppo", {}),
    "memory": ("memory", "ppo", {}),
    "memory, GRPO": ("memory", "grpo", {}),
}
EPISODES, POINTS = 1024, 8


def judged(name: str, seed: int) -> dict[str, Any]:
    """One run: its curve, and how it does afterwards."""
    import jax
    import jax.numpy as jnp

    import klamp.lm
    from klamp.lm.environment import play
    from klamp.lm.generation import Sampling
    from klamp.lm.tasks.builtin import TASKS

    task, algorithm, settings = ROWS[name]
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "run"
        result = klamp.lm.train(task, algorithm, out=out, quiet=True, seed=seed, **settings)
    took = time.perf_counter() - began
    numbers, lines = jnp.arange(EPISODES), result.metrics
    found: dict[str, Any] = {"wall_s": took, "tokens": lines[-1]["step"]}
    for how, sampling in (("sampled", Sampling()), ("greedy", Sampling(greedy=True))):
        parts = (jax.random.key(seed + 1000), numbers, jax.random.key(seed + 2000), numbers)
        played = play(result.policy.decoder, TASKS[task].environment, *parts, sampling)
        earned = jnp.sum(played.reward, axis=1)
        told = {
            "return_mean": jnp.mean(earned),
            "turns_mean": jnp.mean(jnp.max(played.turn, axis=1).astype(jnp.float32)),
            "terminated_share": jnp.mean(jnp.any(played.terminated, axis=1)),
        }
        if TASKS[task].exact:
            told["accuracy"] = jnp.mean(earned > 1 - 1e-6)
        found |= {f"{key}, {how}": float(value) for key, value in told.items()}
    places = sorted({round(i * (len(lines) - 1) / (POINTS - 1)) for i in range(POINTS)})
    found["curve"] = [(lines[i]["step"], lines[i]["reward_mean"]) for i in places]
    kept = ("kl", "kl_max", "entropy", "kl_reference")
    return found | {key: lines[-1][key] for key in kept if lines[-1].get(key) is not None}


def report(runs: dict[str, list[dict[str, Any]]]) -> str:
    """The table and the curves."""
    lines = [
        "# The built-in tasks of language models",
        "",
        "`python benchmarks/lm/tasks.py` trains each with its own settings, as `klamp lm train`;",
        "the mean over seeds, with the least and the greatest, of 1,024 new episodes. The best",
        "possible return is 1, and −3.375 for `guess` (binary search). Times are of a machine that",
        "did other work as well.",
        "",
        "| row | seeds | tokens | return, sampled | return, greedy | ended by itself, sampled "
        "| KL to the start | s |",
        "|---|---|---|---|---|---|---|---|",
    ]

    def spread(found: list[dict[str, Any]], key: str, digits: int = 3) -> str:
        values = [run[key] for run in found if key in run]
        if not values:
            return ""
        ends = f"{min(values):.{digits}f} … {max(values):.{digits}f}"
        return f"{statistics.mean(values):.{digits}f} ({ends})"

    for name, found in runs.items():
        cells = [
            name,
            str(len(found)),
            f"{found[0]['tokens']:,}",
            spread(found, "return_mean, sampled"),
            spread(found, "return_mean, greedy"),
            spread(found, "terminated_share, sampled"),
            spread(found, "kl_reference"),
            spread(found, "wall_s", 0),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    lines += [
        "",
        "Mean reward of an update's episodes while it trains, by sampled tokens, seed 0:",
        "",
    ]
    for name, found in runs.items():
        curve = ", ".join(f"{step:,}: {reward:.2f}" for step, reward in found[0]["curve"])
        lines.append(f"- {name}: {curve}")
    about = "; ".join(f"{key}: {value}" for key, value in (machine() | provenance()).items())
    return "\n".join([*lines, "", about, ""])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("rows", nargs="*", default=[], help=", ".join(ROWS))
    parser.add_argument("--seeds", type=int, default=3)
    asked = parser.parse_args()
    stored = RESULTS / "lm_tasks.json"
    runs: dict[str, Any] = json.loads(stored.read_text()) if stored.exists() else {}
    for name in asked.rows or ROWS:
        runs[name] = [judged(name, seed) for seed in range(asked.seeds)]
        print(name, json.dumps(runs[name]), flush=True)
        runs = {row: runs[row] for row in ROWS if row in runs}
        write(stored, json.dumps(runs, indent=1) + "\n")
        write(RESULTS / "lm_tasks.md", report(runs))


if __name__ == "__main__":
    main()
