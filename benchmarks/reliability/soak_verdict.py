"""Whether something grew during a soak: the rule, the table, the plot.

**The rule for memory.** The first third of the run is left out: compilers, caches and allocators
fill up then. The rest is cut into 20 equal spans (of one minute each, in a run of half an hour),
and each counts as its lowest reading, since garbage that is yet to be collected comes and goes
while a leak lifts the floor. Through these floors goes the Theil-Sen line (the median of the slopes
between all pairs, which a few outliers do not move), with the 95 % interval that follows from
Kendall's tau. Memory is said to *grow* where that interval lies above 0 altogether and reaches 1 MB
an hour. The interval takes the floors as independent; memory that comes in steps is not, which
makes the interval too narrow: the rule errs towards false alarms. A run that is too short or too
noisy must not pass by that, so a third verdict, *cannot tell*, is given where the interval includes
0 but reaches both 1 MB and 1 % of the memory in question an hour, or where there are fewer than two
readings a span; only *steady* passes. The workers that are looked at are those that the test
spares: one that is killed and replaced starts small again, and hides a leak.

**The rule for handles, threads and shared memory.** The same number at every reading of the last
two thirds.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy import stats

MB = 2**20
LIMIT = 1.0
"""MB an hour."""
SHARE = 0.01
"""Of the resident memory, an hour: what a run must be able to exclude."""
SPANS = 20
LEAST_READINGS = 2

Sample = dict[str, float]
MEMORY = {
    "parent_rss": "the training process",
    "spared_uss": "workers that were never killed",
}
COUNTS = {
    "handles": "open handles of the training process",
    "worker_handles": "open handles of the workers never killed",
    "threads": "threads of the training process",
    "shared": "shared-memory mappings",
}


class Slope(NamedTuple):
    """MB an hour: Theil-Sen's, with its 95 % interval; and what that says."""

    slope: float
    low: float
    high: float
    verdict: str


def settled(samples: Sequence[Sample]) -> list[Sample]:
    """The last two thirds of the time."""
    end = samples[-1]["time_s"]
    return [sample for sample in samples if sample["time_s"] >= end / 3]


def floors(time_s: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The lowest value of each of the equal spans of time, and the middle of that span."""
    edges = np.linspace(time_s[0], time_s[-1], SPANS + 1)
    span_of = np.clip(np.searchsorted(edges, time_s, side="right") - 1, 0, SPANS - 1)
    lowest = [values[span_of == i].min() for i in np.unique(span_of)]
    return ((edges[:-1] + edges[1:]) / 2)[np.unique(span_of)], np.asarray(lowest)


def judge(samples: Sequence[Sample], name: str) -> Slope:
    """Whether this memory grew, by the rule above."""
    rest = settled(samples)
    time_s = np.asarray([sample["time_s"] for sample in rest])
    values = np.asarray([sample[name] for sample in rest]) / MB
    if len(rest) < SPANS * LEAST_READINGS:
        return Slope(np.nan, np.nan, np.nan, "cannot tell")
    middles, low_points = floors(time_s, values)
    slope, _, low, high = (float(x) for x in stats.theilslopes(low_points, middles / 3600, 0.95))
    if low > 0 and high >= LIMIT:
        return Slope(slope, low, high, "grows")
    able = high < max(LIMIT, SHARE * float(np.median(values)))
    return Slope(slope, low, high, "steady" if able else "cannot tell")


def span(samples: Sequence[Sample], name: str) -> tuple[int, int]:
    """The lowest and the highest count of the last two thirds."""
    counts = [int(sample[name]) for sample in settled(samples)]
    return min(counts), max(counts)


def failures(samples: Sequence[Sample], at_the_end: Sequence[str]) -> list[str]:
    """What kept a run from passing, in words; nothing where it passed."""
    wrong = [
        f"memory of {what}: {verdict}"
        for name, what in MEMORY.items()
        if (verdict := judge(samples, name).verdict) != "steady"
    ]
    for name, what in COUNTS.items():
        low, high = span(samples, name)
        if low != high:
            wrong.append(f"{what}: {low} to {high}")
    return [*wrong, *at_the_end]


def page(parts: dict[str, Any]) -> str:
    """The page."""
    samples, counts = parts["samples"], parts["counts"]
    wrong = failures(samples, parts["at_the_end"])
    rows = []
    for name, what in MEMORY.items():
        found, values = judge(samples, name), [sample[name] / MB for sample in settled(samples)]
        rows.append(
            f"| memory of {what}, MB | {values[0]:.1f} | {values[-1]:.1f} | {found.slope:+.2f} "
            f"({found.low:+.2f} to {found.high:+.2f}) MB/h | {found.verdict} |"
        )
    for name, what in COUNTS.items():
        low, high = span(samples, name)
        values = [int(sample[name]) for sample in settled(samples)]
        verdict = "constant" if low == high else "**not constant**"
        rows.append(f"| {what} | {values[0]} | {values[-1]} | {low} to {high} | {verdict} |")
    for name, what, unit in (
        ("total_rss", "resident memory of all processes (shared pages in each), MB", MB),
        ("dev_shm", "entries of /dev/shm, whoever made them", 1),
        ("speed", "env steps per second", 1),
        ("speed_cpu", "env steps per second of processor time", 1),
    ):
        values = [sample[name] / unit for sample in settled(samples)]
        first, last = (np.median(part) for part in np.array_split(np.asarray(values), 2))
        rows.append(f"| {what}, medians of halves | {first:,.0f} | {last:,.0f} | | not judged |")
    rule = (__doc__ or "").split("\n\n", 1)[1].strip()
    lines = [
        "# Soak",
        "",
        f"Made by `{parts['command']}` at commit `{parts['commit']}` on "
        f"{parts['machine']}: PPO and TRPO train in turn, in one process, on a CartPole whose "
        "steps are sometimes slow and whose observations and rewards are NaN once in 10⁵ steps, in "
        "workers that are killed (two of three) or stopped (one of three) at random moments; "
        f"checkpoints every {parts['save_s']:g} s, evaluations every {parts['evaluate_s']:g} s, "
        f"readings every {parts['sample_s']:g} s.",
        "",
        f"In {samples[-1]['time_s'] / 60:.1f} minutes: {counts['steps']:,} steps, "
        f"{counts['updates']:,} updates, {counts['refused']} of them refused for a NaN, "
        f"{counts['killed']} workers killed and {counts['stopped']} stopped, "
        f"{counts['healed']} replaced, {counts['checkpoints']} checkpoints, "
        f"{counts['evaluations']} evaluations.",
        "",
        f"**{'Passed' if not wrong else 'Not passed: ' + '; '.join(wrong)}.**",
        "",
        "| last two thirds | first reading | last reading | slope (95 % interval) or range | |",
        "|---|---|---|---|---|",
        *rows,
        "",
        "![memory, handles, threads and speed over time](soak.png)",
        "",
        rule,
    ]
    return "\n".join(lines) + "\n"


def plot(samples: Sequence[Sample], path: Path) -> None:
    """Memory, counts and speed over time; what comes before the grey line is not judged."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    minutes = np.asarray([sample["time_s"] for sample in samples]) / 60
    panels = (
        ("training process, MB", ("parent_rss",), MB),
        ("workers never killed, MB", ("spared_uss",), MB),
        ("handles and threads", ("handles", "worker_handles", "threads"), 1),
        ("env steps/s", ("speed", "speed_cpu"), 1),
    )
    figure, grid = plt.subplots(2, 2, figsize=(9, 5), sharex=True)
    for axes, (title, names, unit) in zip(grid.flat, panels, strict=True):
        for name in names:
            axes.plot(minutes, [s[name] / unit for s in samples], lw=1, label=name)
        axes.axvline(minutes[-1] / 3, color="0.7")
        axes.set_title(title, fontsize=9)
        axes.grid(alpha=0.3)
        axes.tick_params(labelsize=8)
        if len(names) > 1:
            axes.legend(fontsize=7)
    for axes in grid[-1]:
        axes.set_xlabel("minutes", fontsize=9)
    figure.tight_layout()
    figure.savefig(path, dpi=100)
    plt.close(figure)
