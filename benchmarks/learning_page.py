"""`learning.md`: what every row reached, beside the peers and what others have published."""

import math
from typing import Any

import numpy as np
from campaign import Results
from learning_rows import KLAMP, PEERS, PUBLISHED, Row

from klamp.evaluation.comparison.statistics import (
    improvement_interval,
    interquartile_mean,
    mean_interval,
    probability_of_improvement,
    stratified_interval,
)

HEAD = """# Learning

Made by `python benchmarks/learning.py`; the protocol stands in [README](../README.md). *Return* is
the mean of the last 100 **training** episodes, sampled actions and raw rewards; *evaluated* is the
mean of 20 episodes by the mode after training. IQM is the interquartile mean over seeds with its
95 % stratified-bootstrap interval. A run has *collapsed* where it ends below half of what it had
gained: of the way from its first mean return to its best one. Seeds 0 and up; presets were tuned on
seeds from 1000 (`docs/tuning.md`).
"""

Runs = list[dict[str, Any]]


def runs_that_are_there(results: Results) -> list[tuple[Row, Runs]]:
    """Every row that has a run, with its runs."""
    found = [(row, runs_of(row, results)) for row in (*KLAMP, *PEERS)]
    return [(row, runs) for row, runs in found if runs]


def page(present: list[tuple[Row, Runs]]) -> str:
    """The whole page."""
    ours = [(row, runs) for row, runs in present if row.system == "klamp"]
    lines = [
        HEAD,
        "| environment | algorithm | steps | seeds | wanted | mean | IQM | evaluated, IQM "
        "| collapsed | published | verdict |",
        "|---|---|---:|---:|---:|---:|---|---|---:|---|---|",
        *(_summary(row, runs) for row, runs in ours),
        *_beside(present),
        *_collapses(present),
        "",
        "![Curves and performance profile](learning.png)",
        *_each(present),
    ]
    made = {row.name: len(runs) for row, runs in present}
    missing = [row.name for row in (*KLAMP, *PEERS) if made.get(row.name, 0) < len(row.seeds)]
    if missing:
        lines += ["", f"Not all seeds are there yet: {', '.join(missing)}."]
    return "\n".join(lines) + "\n"


def runs_of(row: Row, results: Results) -> Runs:
    """The runs of a row that are there, by seed."""
    return [line for job in row.jobs() if (line := results.of(job)) is not None]


def scores(runs: Runs) -> np.ndarray:
    """Last-100 training returns; a run that finished no episode has none, and stands lowest."""
    return np.array([-math.inf if run["return"] is None else run["return"] for run in runs])


def evaluations(runs: Runs) -> np.ndarray:
    """Mean returns of the trained policies."""
    return np.array([float(np.mean(run["evaluation"])) for run in runs])


def collapsed(run: dict[str, Any]) -> bool:
    """Whether a run ends below half of what it had gained."""
    known = [each for each in run["curve"]["return_mean"] if each is not None]
    if not known or run["return"] is None:
        return False
    return run["return"] - known[0] < (run["best"] - known[0]) / 2


def number(value: float) -> str:
    """A return with the digits that it deserves."""
    if not math.isfinite(value):
        return "none"
    text = f"{value:,.0f}" if abs(value) >= 100 else f"{value:.1f}"
    return text.replace("-", "−")


def interval(values: np.ndarray) -> str:
    """The interquartile mean, and its interval where there are two seeds."""
    bounds = stratified_interval([values])
    middle = number(float(interquartile_mean(values)))
    return middle if bounds is None else f"{middle} ({number(bounds[0])} to {number(bounds[1])})"


def _summary(row: Row, runs: Runs) -> str:
    mean = float(scores(runs).mean())
    complete = len(runs) == len(row.seeds)
    verdict = "" if row.wanted is None else "**missed**"
    if row.wanted is not None and round(mean) >= row.wanted:
        verdict = "reached"
    given = "".join(f", {name}={value}" for name, value in row.settings.items())
    return (
        f"| {row.env} | {row.algo}{given} | {row.steps:,} | {len(runs)} "
        f"| {'' if row.wanted is None else f'≥ {number(row.wanted)}'} | {number(mean)} "
        f"| {interval(scores(runs))} | {interval(evaluations(runs))} "
        f"| {sum(map(collapsed, runs))} of {len(runs)} "
        f"| {PUBLISHED.get((row.env, row.algo), '')} | {verdict if complete else 'not all seeds'} |"
    )


def pairs(present: list[tuple[Row, Runs]]) -> list[tuple[Row, Runs, Runs]]:
    """The runs of klamp and of a peer for runs of equal tasks."""
    ours = {
        row.task: (row, runs)
        for row, runs in present
        if row.system == "klamp" and not row.over_preset
    }
    return [
        (ours[row.task][0], ours[row.task][1], runs)
        for row, runs in present
        if row.system != "klamp" and row.task in ours
    ]


def _beside(present: list[tuple[Row, Runs]]) -> list[str]:
    """The runs beside the peers: each task, and all of them together."""
    both = pairs(present)
    if not both:
        return []
    lines = [
        "",
        "## Beside Stable-Baselines3 and sb3-contrib",
        "",
        "PPO of Stable-Baselines3 and TRPO of sb3-contrib at the settings of RL Baselines3 Zoo, "
        "equal steps. The probability of improvement is that of a run of klamp ending above one of "
        "theirs. "
        "Normalised: 0 is the first mean return of a run, 1 the mean of the peer.",
        "",
        "| environment | algorithm | klamp, IQM | peer, IQM | peer, evaluated | probability of "
        "improvement |",
        "|---|---|---|---|---|---|",
    ]
    scaled: list[tuple[np.ndarray, np.ndarray]] = []
    for row, ours, theirs in both:
        mine, other = scores(ours), scores(theirs)
        scaled.append(normalised(ours, theirs))
        lines.append(
            f"| {row.env} | {row.algo} | {interval(mine)} | {interval(other)} "
            f"| {interval(evaluations(theirs))} | {_improvement([mine], [other])} |"
        )
    mine, other = ([pair[i] for pair in scaled] for i in (0, 1))
    lines.append(
        f"| all {len(both)}, normalised | | {_pooled(mine)} | {_pooled(other)} | "
        f"| {_improvement(mine, other)} |"
    )
    return lines


def normalised(ours: Runs, theirs: Runs) -> tuple[np.ndarray, np.ndarray]:
    """Both scores on a scale where the untrained policy has 0 and the peer's mean is 1."""
    first = [
        next(each for each in run["curve"]["return_mean"] if each is not None)
        for run in (*ours, *theirs)
    ]
    mine, other = scores(ours), scores(theirs)
    zero = float(np.mean(first))
    return (mine - zero) / (other.mean() - zero), (other - zero) / (other.mean() - zero)


def _pooled(tasks: list[np.ndarray]) -> str:
    bounds = stratified_interval(tasks)
    middle = float(interquartile_mean(np.concatenate(tasks)))
    return f"{middle:.2f}" + (f" ({bounds[0]:.2f} to {bounds[1]:.2f})" if bounds else "")


def _improvement(mine: list[np.ndarray], other: list[np.ndarray]) -> str:
    bounds = improvement_interval(mine, other)
    share = probability_of_improvement(mine, other)
    return f"{share:.0%}" + (f" ({bounds[0]:.0%} to {bounds[1]:.0%})" if bounds else "")


def _collapses(present: list[tuple[Row, Runs]]) -> list[str]:
    """How many runs collapsed, by system and algorithm."""
    lines = [
        "",
        "## Collapse",
        "",
        "| system | algorithm | runs | collapsed |",
        "|---|---|---:|---:|",
    ]
    for system, algo in dict.fromkeys((row.system, row.algo) for row, _ in present):
        every = [
            run for row, runs in present if (row.system, row.algo) == (system, algo) for run in runs
        ]
        lines.append(f"| {system} | {algo} | {len(every)} | {sum(map(collapsed, every))} |")
    return lines


def _each(present: list[tuple[Row, Runs]]) -> list[str]:
    """Every seed, and what it was made with."""
    lines = [
        "",
        "## Every seed",
        "",
        "| row | return (evaluated) by seed | mean (95 % interval) | core minutes | made with |",
        "|---|---|---|---:|---|",
    ]
    for row, runs in present:
        each = ", ".join(
            f"{run['seed']}: {number(score)} ({number(after)})"
            for run, score, after in zip(runs, scores(runs), evaluations(runs), strict=True)
        )
        low, high = mean_interval(scores(runs))
        minutes = float(np.median([run["cpu_s"] for run in runs])) / 60
        commits = ", ".join(dict.fromkeys(run.get("commit", "?") for run in runs))
        dates = ", ".join(dict.fromkeys(run["date"] for run in runs))
        lines.append(
            f"| {row.name} | {each} | {number(float(scores(runs).mean()))} ({number(low)} to "
            f"{number(high)}) | {minutes:.1f} | {commits}; {dates} |"
        )
    return lines
