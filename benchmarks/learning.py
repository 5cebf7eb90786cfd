"""What klamp learns: every row's seeds, one after the other, each run as a user would start it.

``python benchmarks/learning.py`` trains every row by its preset and writes `results/learning.md`
and `learning.json`; ``--only 'CartPole-v1-*'`` runs some rows and keeps the results of the others.
The score of a run is the mean return of its last 100 training episodes; a row may ask for an
evaluation as well. Add a row in ``ROWS``.
"""

import argparse
import contextlib
import fnmatch
import json
import math
import statistics
import tempfile
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

import harness


class Rule(Protocol):
    """When a row counts as learnt."""

    def met(self, scores: list[float]) -> bool:
        """Whether the scores of all seeds satisfy it."""
        ...

    def __str__(self) -> str: ...


@dataclass(frozen=True)
class Seeds:
    """At least so many seeds at the threshold or above."""

    count: int
    threshold: float

    def met(self, scores: list[float]) -> bool:
        """Count them."""
        return sum(score >= self.threshold for score in scores) >= self.count

    def __str__(self) -> str:
        return f"≥ {self.threshold:g} for at least {self.count} seeds"


@dataclass(frozen=True)
class Mean:
    """The mean over seeds at the threshold or above, or strictly above."""

    threshold: float
    strictly: bool = False

    def met(self, scores: list[float]) -> bool:
        """Compare the mean."""
        mean = statistics.fmean(scores)
        return mean > self.threshold if self.strictly else mean >= self.threshold

    def __str__(self) -> str:
        return f"mean {'>' if self.strictly else '≥'} {self.threshold:g}"


@dataclass(frozen=True)
class Row:
    """One preset, what is set over it, its budget, its seeds, and what they must reach."""

    env: str
    algo: str
    steps: int
    seeds: int
    """Seeds 0 to this, exclusive."""
    rule: Rule
    settings: dict[str, Any] = field(default_factory=dict)
    """Over the preset's."""
    evaluation_episodes: int = 0
    """If any: the trained policy's mean return over these, by the mode, must meet the rule too."""

    @property
    def name(self) -> str:
        """What ``--only`` matches."""
        return "-".join((self.env, self.algo, *(f"{k}={v}" for k, v in self.settings.items())))


BOTH = ("ppo", "trpo")
ROWS = (
    *(Row("CartPole-v1", algo, 100_000, 10, Seeds(9, 475)) for algo in BOTH),
    *(Row("CartPole-v1", algo, 150_000, 10, Seeds(9, 475)) for algo in ("npg", "ppo-kl")),
    *(Row("CartPole-v1", algo, 500_000, 10, Seeds(9, 400)) for algo in ("a2c", "reinforce")),
    Row("CartPole-v1", "trpo", 150_000, 10, Seeds(10, 475), {"dropout": 0.1}, 100),
    *(Row("Pendulum-v1", algo, 200_000, 5, Mean(-250)) for algo in BOTH),
    *(Row("HalfCheetah-v5", algo, 300_000, 3, Mean(800, strictly=True)) for algo in BOTH),
)

Results = dict[str, dict[str, Any]]


def main() -> None:
    """Parse, train, write after every seed."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--only", default="*", help="rows to run, a pattern such as '*-trpo'")
    parser.add_argument("--seeds", type=int, nargs="+", help="these seeds only, for a trial")
    parser.add_argument("--steps", type=int, help="this many steps instead, for a trial")
    parser.add_argument("--out", type=Path, default=harness.RESULTS, help="folder of the results")
    options = parser.parse_args()
    options.out = options.out.resolve()
    rows = [row for row in ROWS if fnmatch.fnmatch(row.name, options.only)]
    if not rows:
        raise SystemExit(f"No row is called {options.only!r}: {', '.join(r.name for r in ROWS)}")
    if (options.seeds or options.steps) and options.out == harness.RESULTS:
        raise SystemExit("--seeds and --steps make a trial: give a folder of its own by --out.")
    path = options.out / "learning.json"
    results: Results = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    for row in rows:
        results[row.name] = train_row(row, options.seeds or range(row.seeds), options.steps)
        harness.write(path, json.dumps(results, indent=1) + "\n")
        harness.write(options.out / "learning.md", page(results))
    print(f"Written: {path.with_suffix('.md')}, {path.name}")


def train_row(row: Row, seeds: Any, steps: int | None) -> dict[str, Any]:
    """Train all seeds of a row; their scores, times and verdict."""
    found: dict[str, Any] = {
        "row": asdict(row) | {"rule": str(row.rule)},
        "provenance": harness.provenance(),
        "machine": harness.machine(),
        "runs": [],
    }
    print(f"{row.name}, {steps or row.steps:,} steps, {row.rule}", flush=True)
    for seed in seeds:
        run = train_seed(row, seed, steps or row.steps)
        found["config"] = run.pop("config")
        found["runs"].append(run)
        line = f"  seed {seed}: {show(run['return_mean']):>9} after {run['wall_s']:.1f} s"
        if row.evaluation_episodes:
            line += f", evaluated {show(run['evaluation_mean'])}"
        print(f"{line} ({run['step']:,} steps)", flush=True)
    scores = all_of(found["runs"], "return_mean")
    met = row.rule.met(scores)
    if row.evaluation_episodes:
        evaluated = all_of(found["runs"], "evaluation_mean")
        met = met and row.rule.met(evaluated)
        found["evaluation_median"] = finite(statistics.median(evaluated))
        found["evaluation_worst"] = finite(min(evaluated))
    complete = steps is None and [run["seed"] for run in found["runs"]] == list(range(row.seeds))
    found |= {
        "median": finite(statistics.median(scores)),
        "mean": finite(statistics.fmean(scores)),
        "verdict": ("met" if met else "missed") if complete else "a trial",
    }
    print(f"  median {show(found['median'])}, mean {show(found['mean'])}: {found['verdict']}")
    return found


def all_of(runs: list[dict[str, Any]], score: str) -> list[float]:
    """One of the scores of every run; a run that finished no episode has none and fails."""
    return [-math.inf if run[score] is None else run[score] for run in runs]


def finite(number: float | None) -> float | None:
    """Keep a number that JSON can hold."""
    return number if number is not None and math.isfinite(number) else None


def show(number: float | None) -> str:
    return "none" if number is None else f"{number:.1f}"


def train_seed(row: Row, seed: int, steps: int) -> dict[str, Any]:
    """One run in a folder that is thrown away."""
    import klamp

    # Libraries drop files where they run (MuJoCo its log): they go into the scratch folder too.
    with tempfile.TemporaryDirectory() as scratch, contextlib.chdir(scratch):
        began = time.perf_counter()
        folder = Path(scratch) / "run"
        given = {"steps": steps, "seed": seed} | row.settings
        result = klamp.train(row.env, row.algo, out=folder, quiet=True, **given)
        wall = time.perf_counter() - began
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    config.pop("seed")
    summary = result.summary
    numbers = {name: finite(summary[name]) for name in ("return_mean", "step", "episodes", "kl")}
    if row.evaluation_episodes:
        done = klamp.evaluate(result.policy, episodes=row.evaluation_episodes, seed=seed)
        numbers["evaluation_mean"] = float(done.returns.mean())
    return {"seed": seed, **numbers, "wall_s": wall, "config": config}


def page(results: Results) -> str:
    """`learning.md`: the verdicts, then every seed."""
    lines = [
        "# Learning",
        "",
        "Made by `python benchmarks/learning.py`; the protocol stands in [README](../README.md). "
        "A score is the mean return of a run's last 100 training episodes, with the preset's "
        "settings and what the row names over them; where a row asks for an evaluation, the rule "
        "holds for that too (by the mode, nothing left out). Seconds are those "
        "of the machine and of the hour, compilation included.",
        "",
        "| environment | algorithm | steps | wanted | median | mean | verdict |",
        "|---|---|---:|---|---:|---:|---|",
    ]
    order = {row.name: place for place, row in enumerate(ROWS)}
    names = sorted(results, key=lambda name: order.get(name, len(order)))
    for name in names:
        found, row = results[name], results[name]["row"]
        wanted = f"{row['rule']} (of {row['seeds']})"
        algo = ", ".join((row["algo"], *(f"{k}={v}" for k, v in row.get("settings", {}).items())))
        lines.append(
            f"| {row['env']} | {algo} | {found['config']['steps']:,} | {wanted} "
            f"| {show(found['median'])} | {show(found['mean'])} | **{found['verdict']}** |"
        )
    lines += [
        "",
        "| row | score by seed (evaluation) | seconds per run | made with |",
        "|---|---|---:|---|",
    ]
    for name in names:
        found = results[name]
        scores = ", ".join(
            f"{run['seed']}: {show(run['return_mean'])}"
            + (f" ({show(run['evaluation_mean'])})" if "evaluation_mean" in run else "")
            for run in found["runs"]
        )
        seconds = statistics.median(run["wall_s"] for run in found["runs"])
        about = found["provenance"]
        made = " ".join(about[part] for part in ("klamp", "commit", "date") if part in about)
        lines.append(f"| {name} | {scores} | {seconds:.1f} | {made} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
