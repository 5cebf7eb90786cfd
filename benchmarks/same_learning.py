"""Whether klamp's speed has changed what is learned: curves beside Stable-Baselines3's.

``python benchmarks/same_learning.py`` trains klamp and Stable-Baselines3 (sb3-contrib for TRPO)
with the same work and equal settings over ten seeds each, and writes `results/same_learning.md`,
`.json` and `.png`. **The rule**: the 95 % interval (Welch's t over seeds) of the difference of the
areas under the curves holds 0, and at 95 % of the points at least klamp's mean curve lies within
the 95 % prediction interval of a mean of as many new seeds of the reference, or within 1 % of the
highest return of it, where all its seeds agree. Curves are compared update by update: an
environment that resets itself in a step of its own spends a row on that, which klamp does not count
as an environment step and the reference never has. Exits with 1 where not.
"""

import argparse
import fnmatch
import json
import statistics
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import harness
import numpy as np
from interpreters import Interpreters
from scipy import stats

POINTS = 40
"""Places of the step axis at which the curves are compared."""
WITHIN = 0.95
MARGIN = 0.01
"""Of the reference's highest mean return."""


@dataclass(frozen=True)
class Row:
    """One piece of work."""

    name: str
    env: str
    algorithm: str
    num_envs: int
    rollout_length: int
    steps: int
    reference: str
    epochs: int = 10
    minibatch_size: int = 64
    hidden_sizes: tuple[int, ...] = (64, 64)
    cg_iterations: int = 15


ROWS = (
    Row("ppo-cartpole", "CartPole-v1", "ppo", 8, 256, 100_000, "Stable-Baselines3"),
    Row("trpo-cartpole", "CartPole-v1", "trpo", 8, 512, 150_000, "sb3-contrib"),
    Row("ppo-halfcheetah", "HalfCheetah-v5", "ppo", 4, 512, 100_000, "Stable-Baselines3"),
)


def main() -> int:
    """Parse, train, judge, write after every row."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--only", default="*", help="rows to run, a pattern")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--steps", type=int, help="this many steps instead, for a trial")
    parser.add_argument("--use", action="append", default=[], metavar="GROUP=PYTHON")
    parser.add_argument("--out", type=Path, default=harness.RESULTS)
    options = parser.parse_args()
    pythons = Interpreters(found=dict(each.split("=", 1) for each in options.use))
    path = options.out.resolve() / "same_learning.json"
    results: dict[str, Any] = json.loads(path.read_text("utf-8")) if path.exists() else {}
    for row in ROWS:
        if fnmatch.fnmatch(row.name, options.only):
            results[row.name] = train(row, pythons, options.seeds, options.steps)
            harness.write(path, json.dumps(results) + "\n")
            harness.write(path.with_suffix(".md"), page(results))
            plot(results, path.with_suffix(".png"))
    return int(any(not compare(found)["same"] for found in results.values()))


def train(row: Row, pythons: Interpreters, seeds: int, steps: int | None) -> dict[str, Any]:
    """The curves of both, seed by seed in turn."""
    work = asdict(row) | {"cores": harness.cores()[:1], "steps": steps or row.steps}
    found: dict[str, Any] = {
        "row": work,
        "provenance": harness.provenance(),
        "curves": {"klamp": [], "reference": []},
        "versions": {},
    }
    systems = (("klamp", "klamp", "klamp_curve"), ("reference", "torch", "sb3_curve"))
    for seed in range(seeds):
        for name, group, system in systems:
            python = pythons.python(group)
            if python is None:
                raise SystemExit(f"{group}: {pythons.reasons[group]}")
            result = harness.run_worker(python, system, work | {"seed": seed})
            if "error" in result:
                raise SystemExit(f"{row.name}, {name}, seed {seed}: {result['error']}")
            found["curves"][name].append(result["curve"])
            found["versions"][name] = result["versions"]
            print(f"{row.name} {name} seed {seed}: {result['curve'][-1][1]}", flush=True)
    return found


def grid(found: dict[str, Any]) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Rows collected [P], and the curves of each system there, [seeds, P]."""
    batch = found["row"]["num_envs"] * found["row"]["rollout_length"]
    curves = {
        name: [
            [(batch * (i + 1), r) for i, (_, r) in enumerate(curve) if r is not None]
            for curve in each
        ]
        for name, each in found["curves"].items()
    }
    every = [curve for each in curves.values() for curve in each]
    steps = np.linspace(
        max(curve[0][0] for curve in every), min(curve[-1][0] for curve in every), POINTS
    )
    return steps, {
        name: np.stack([np.interp(steps, *np.asarray(curve).T) for curve in each])
        for name, each in curves.items()
    }


def compare(found: dict[str, Any]) -> dict[str, Any]:
    """By the rule: the difference of the areas (in returns), and the share of points within."""
    _, curves = grid(found)
    ours, theirs = curves["klamp"], curves["reference"]
    areas = ours.mean(axis=1), theirs.mean(axis=1)
    interval = stats.ttest_ind(*areas, equal_var=False).confidence_interval(0.95)
    n, m = len(ours), len(theirs)
    reach = stats.t.ppf(0.975, m - 1) * theirs.std(axis=0, ddof=1) * np.sqrt(1 / m + 1 / n)
    least = MARGIN * np.abs(theirs.mean(axis=0)).max()
    apart = np.abs(ours.mean(axis=0) - theirs.mean(axis=0))
    within = float((apart <= np.maximum(reach, least)).mean())
    low, high = float(interval.low), float(interval.high)
    return {
        "areas": [float(each.mean()) for each in areas],
        "difference": float(areas[0].mean() - areas[1].mean()),
        "low": low,
        "high": high,
        "within": within,
        "last": [statistics.fmean(each[:, -1]) for each in (ours, theirs)],
        "same": low <= 0 <= high and within >= WITHIN,
    }


def page(results: dict[str, Any]) -> str:
    """`same_learning.md`."""
    lines = [
        "# The same learning",
        "",
        "Made by `python benchmarks/same_learning.py`. Mean return of the last 100 training "
        "episodes, at the settings of the speed benchmark's rows; mean over seeds.",
        "",
        (__doc__ or "")[(__doc__ or "").index("**The rule**") :].strip(),
        "",
        "| row | reference | seeds | steps | area, klamp | area, reference | difference (95 % "
        "interval) | points within | last, klamp | last, reference | same |",
        "|---|---|---:|---:|---:|---:|---|---:|---:|---:|---|",
    ]
    for name, found in results.items():
        got, row = compare(found), found["row"]
        same = "yes" if got["same"] else "**no**"
        lines.append(
            f"| {name} | {row['reference']} | {len(found['curves']['klamp'])} | {row['steps']:,} "
            f"| {got['areas'][0]:.1f} | {got['areas'][1]:.1f} | {got['difference']:+.1f} "
            f"({got['low']:+.1f} to {got['high']:+.1f}) | {got['within']:.0%} "
            f"| {got['last'][0]:.1f} | {got['last'][1]:.1f} | {same} |"
        )
    lines += ["", "![curves](same_learning.png)", ""]
    for name, found in results.items():
        parts = (f"{k} {v}" for each in found["versions"].values() for k, v in each.items())
        lines.append(f"- {name}: {', '.join(dict.fromkeys(parts))}; {found['provenance']}")
    return "\n".join(lines) + "\n"


def plot(results: dict[str, Any], path: Path) -> None:
    """Mean curves with the 95 % interval of the mean, one panel a row."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, panels = plt.subplots(1, len(results), figsize=(4 * len(results), 3), squeeze=False)
    for axes, (name, found) in zip(panels[0], results.items(), strict=True):
        steps, curves = grid(found)
        labels = {"klamp": "klamp", "reference": found["row"]["reference"]}
        for system, each in curves.items():
            mean, n = each.mean(axis=0), len(each)
            reach = stats.t.ppf(0.975, n - 1) * each.std(axis=0, ddof=1) / np.sqrt(n)
            (line,) = axes.plot(steps, mean, label=labels[system])
            axes.fill_between(steps, mean - reach, mean + reach, color=line.get_color(), alpha=0.2)
        axes.set(title=name, xlabel="environments × steps collected", ylabel="return")
        axes.legend(fontsize=8)
        axes.grid(alpha=0.3)
    figure.tight_layout()
    figure.savefig(path, dpi=100)
    plt.close(figure)


if __name__ == "__main__":
    sys.exit(main())
