"""What language models learn on the built-in tasks, one experiment at a time.

    python benchmarks/lm/learning.py EXPERIMENT [--seeds 5] [--only LABEL] [--minutes M]

Each run is kept as a line of `results/lm/EXPERIMENT.jsonl`; those that are there are not repeated,
so an experiment may be made in pieces. The table goes to `results/lm/EXPERIMENT.md`: means over
seeds, and what the worst seed has. `tasks.py` beside it is about the tasks by themselves.
"""

import argparse
import json
import math
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from harness import RESULTS, machine, provenance, write

SORT: dict[str, Any] = {"steps": 61_440, "supervised_steps": 60}
BOUND: dict[str, Any] = {"max_kl": 0.01}
SURE: dict[str, Any] = {"supervised_steps": 400, "steps": 20 * 1536, "learning_rate": 1e-3}

Runs = dict[str, tuple[str, str, dict[str, Any]]]

EXPERIMENTS: dict[str, Runs] = {
    "step_sizes": {
        f"{label}, step size {size:g}": ("sort", "ppo", SORT | more | {"learning_rate": size})
        for size in (1e-4, 3e-4, 1e-3)
        for label, more in (("clip alone", {}), ("`max_kl` 0.01", BOUND))
    },
    "collapse": {
        "clip alone": ("sort", "ppo", SURE),
        "`max_kl` 0.01": ("sort", "ppo", SURE | BOUND),
        "`max_kl` 0.01, 10 warm-up updates": (
            "sort",
            "ppo",
            SURE | BOUND | {"critic_warmup": 10, "steps": 30 * 1536},
        ),
    },
    "updates": {
        "PPO": ("sort", "ppo", SORT),
        "PPO, `max_kl` 0.01": ("sort", "ppo", SORT | BOUND),
        "PPO with a penalty": ("sort", "ppo-kl", SORT),
        "GRPO": ("sort", "grpo", SORT),
        "GRPO, `max_kl` 0.01": ("sort", "grpo", SORT | BOUND),
        "TRPO, δ 0.01": ("sort", "trpo", SORT | {"prompts": 256}),
        "NPG, δ 0.01": ("sort", "npg", SORT | {"prompts": 256}),
        "TRPO, δ 0.03, 1,024 completions": (
            "sort",
            "trpo",
            SORT | {"steps": 122_880, "max_kl": 0.03, "critic_epochs": 4},
        ),
        "PPO, `max_kl` 0.03, 1,024 completions": (
            "sort",
            "ppo",
            SORT | {"steps": 122_880, "prompts": 1024, "minibatch_size": 256, "max_kl": 0.03},
        ),
    },
    "adapters": {
        "PPO, rank 4, `max_kl` 0.01": (
            "sort",
            "ppo",
            SORT | BOUND | {"steps": 25 * 1536, "adapter_rank": 4, "learning_rate": 1e-3},
        ),
        "TRPO, rank 4, δ 0.01, 1,024 completions": (
            "sort",
            "trpo",
            SORT | {"steps": 25 * 6144, "adapter_rank": 4},
        ),
    },
}


def one_run(task: str, algo: str, settings: dict[str, Any], seed: int) -> dict[str, Any]:
    """The figures of one run, and of 512 fresh prompts answered by samples."""
    import numpy as np

    import klamp.lm
    from klamp.lm.collection import TaskCollector
    from klamp.lm.tasks.builtin import TASKS

    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as scratch:
        result = klamp.lm.train(
            task, algo, out=Path(scratch) / "run", quiet=True, seed=seed, **settings
        )
    took = time.perf_counter() - began
    collector = TaskCollector(TASKS[task], result.policy.config.settings)
    sampled, greedy = (
        collector.evaluated(result.policy.decoder, 512, seed=seed + 10**6, deterministic=most)
        for most in (False, True)
    )
    made = [line for line in result.metrics if line["kl"]]
    last = result.metrics[-1]
    return {
        "sampled": float(sampled.returns.mean()),
        "greedy": float(greedy.returns.mean()),
        "greedy_length": float(greedy.lengths.mean()),
        "finished": float(np.asarray(greedy.completions.terminated).any(1).mean()),
        "first": result.metrics[0]["reward_mean"],
        "kl": statistics.mean(line["kl"] for line in made),
        "kl_largest": max(line["kl"] for line in made),
        "kl_max": max(line["kl_max"] for line in made),
        "kl_reference": last.get("kl_reference"),
        "updates": len(result.metrics),
        "accepted": sum(line["outcome"] in ("ACCEPTED", "PROJECTED") for line in result.metrics),
        "ms": 1000
        * statistics.median(
            (line["completion_length_mean"] * fresh_batch(result)) / line["steps_per_second"]
            for line in result.metrics
        ),
        "wall_s": took,
    }


def fresh_batch(result: Any) -> int:
    """Completions of an update."""
    return result.policy.config.settings.completions


def table(runs: Runs, lines: list[dict[str, Any]]) -> str:
    """One row for each configuration that has runs."""
    head = (
        "| | seeds | sampled % (worst) | ±95 % | greedy % (worst) | first batch % "
        "| KL a token, mean / largest update | largest token KL | an update, ms |\n"
        "|---|---|---|---|---|---|---|---|---|"
    )
    rows = [head]
    for label in runs:
        own = [line for line in lines if line["label"] == label]
        if not own:
            continue

        def mean(key: str, own: list[dict[str, Any]] = own) -> float:
            return statistics.mean(line[key] for line in own)

        percent = [100 * line["sampled"] for line in own]
        # Student's t at 95 % for n − 1 degrees of freedom.
        t = {2: 12.7, 3: 4.30, 4: 3.18, 5: 2.78, 6: 2.57, 8: 2.36, 10: 2.26}.get(len(own), 2.0)
        spread = t * statistics.stdev(percent) / math.sqrt(len(own)) if len(own) > 1 else math.nan
        rows.append(
            f"| {label} | {len(own)} | {mean('sampled') * 100:.1f} ({min(percent):.1f}) | "
            f"{spread:.1f} | {mean('greedy') * 100:.1f} "
            f"({min(x['greedy'] for x in own) * 100:.1f}) | {mean('first') * 100:.1f} | "
            f"{mean('kl'):.4f} / {max(x['kl_largest'] for x in own):.4f} | "
            f"{max(x['kl_max'] for x in own):.2f} | {mean('ms'):.0f} |"
        )
    return "\n".join(rows)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("experiment", choices=EXPERIMENTS)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--only", default="")
    parser.add_argument("--minutes", type=float, default=1e9)
    given = parser.parse_args()
    folder = RESULTS / "lm"
    folder.mkdir(exist_ok=True)
    kept = folder / f"{given.experiment}.jsonl"
    lines = [json.loads(line) for line in kept.open()] if kept.exists() else []
    runs, began = EXPERIMENTS[given.experiment], time.monotonic()
    for seed in range(given.seeds):
        for label, (task, algo, settings) in runs.items():
            done = any((line["label"], line["seed"]) == (label, seed) for line in lines)
            late = time.monotonic() - began > 60 * given.minutes
            if done or late or given.only not in label:
                continue
            found = one_run(task, algo, settings, seed)
            lines.append({"label": label, "seed": seed, **found})
            with kept.open("a") as file:
                file.write(json.dumps(lines[-1]) + "\n")
            print(
                label, seed, {k: round(v, 4) for k, v in found.items() if v is not None}, flush=True
            )
    about = "; ".join(f"{key}: {value}" for key, value in (machine() | provenance()).items())
    head = f"# {given.experiment}\n\n`python benchmarks/lm/learning.py {given.experiment}`\n\n"
    write(folder / f"{given.experiment}.md", f"{head}{table(runs, lines)}\n\n{about}\n")
    print(table(runs, lines))


if __name__ == "__main__":
    main()
