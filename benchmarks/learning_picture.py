"""`learning.png`: the curves of every task, and the profile of those that have a peer."""

from pathlib import Path
from typing import Any

import numpy as np
from learning_page import Row, Runs, normalised, pairs

from klamp.evaluation.comparison.statistics import interquartile_mean, performance_profile

STYLE = {
    ("klamp", "ppo"): ("klamp PPO", "C0", "-"),
    ("klamp", "trpo"): ("klamp TRPO", "C3", "-"),
    ("sb3", "ppo"): ("Stable-Baselines3 PPO", "C0", ":"),
    ("sb3", "trpo"): ("sb3-contrib TRPO", "C3", ":"),
}
POINTS = 60
ACROSS = 5
"""Panels in a row."""


def picture(present: list[tuple[Row, Runs]], path: Path) -> None:
    """Draw what is there."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt
    from matplotlib.ticker import EngFormatter

    drawn = first_of_each(present)
    envs = list(dict.fromkeys(row.env for row, _ in drawn))
    both = pairs(present)
    count = len(envs) + bool(both)
    across = min(ACROSS, count)
    down = -(-count // across)
    size = (2.8 * across, 2.3 * down)
    figure, panels = plt.subplots(down, across, figsize=size, squeeze=False)
    axes = list(panels.flat)
    for env, panel in zip(envs, axes, strict=False):
        for row, runs in drawn:
            if row.env == env:
                _curve(panel, runs, STYLE[row.system, row.algo])
        panel.set_title(env, fontsize=10)
        panel.set(xlabel="steps", ylabel="return")
        panel.locator_params(axis="x", nbins=4)
        panel.xaxis.set_major_formatter(EngFormatter(sep=""))
    if both:
        _profiles(axes[len(envs)], both)
    for panel in axes[:count]:
        panel.grid(alpha=0.3)
    for panel in axes[count:]:
        panel.axis("off")
    _legend(figure, axes[:count])
    figure.savefig(path, dpi=80)
    plt.close(figure)


def first_of_each(present: list[tuple[Row, Runs]]) -> list[tuple[Row, Runs]]:
    """Per task, algorithm and system the first row of the table that is at the preset."""
    found: dict[tuple[str, str, str], tuple[Row, Runs]] = {}
    for row, runs in present:
        if (row.system, row.algo) in STYLE and not row.over_preset:
            found.setdefault((row.env, row.algo, row.system), (row, runs))
    return list(found.values())


def _legend(figure: Any, panels: list[Any]) -> None:
    """One for all panels, above them."""
    lines = {
        label: line
        for panel in panels
        for line, label in zip(*panel.get_legend_handles_labels(), strict=True)
    }
    figure.tight_layout(rect=(0, 0, 1, 0.95))
    figure.legend(lines.values(), lines.keys(), loc="upper center", ncols=len(lines), fontsize=9)


def curves(runs: Runs) -> tuple[np.ndarray, np.ndarray]:
    """Steps [P], and the return of the last 100 training episodes there, [P, seeds]."""
    each = [
        [
            (step, mean)
            for step, mean in zip(*run["curve"].values(), strict=True)
            if mean is not None
        ]
        for run in runs
    ]
    steps = np.linspace(
        max(curve[0][0] for curve in each), min(curve[-1][0] for curve in each), POINTS
    )
    return steps, np.stack([np.interp(steps, *np.asarray(curve).T) for curve in each], axis=1)


def _curve(panel: Any, runs: Runs, style: tuple[str, str, str]) -> None:
    """The interquartile mean over seeds, and the range of them."""
    label, colour, line = style
    steps, returns = curves(runs)
    panel.plot(steps, interquartile_mean(returns), line, color=colour, label=label)
    panel.fill_between(
        steps, returns.min(axis=1), returns.max(axis=1), color=colour, alpha=0.12, linewidth=0
    )


def _profiles(panel: Any, both: list[tuple[Row, Runs, Runs]]) -> None:
    """The share of runs above each normalised return."""
    thresholds = np.linspace(0, 2, 101)
    for algo in dict.fromkeys(row.algo for row, *_ in both):
        scaled = [normalised(ours, theirs) for row, ours, theirs in both if row.algo == algo]
        for place, system in enumerate(("klamp", "sb3")):
            label, colour, line = STYLE[system, algo]
            values = np.concatenate([pair[place] for pair in scaled])
            share, low, high = performance_profile(values, thresholds)
            panel.plot(thresholds, share, line, color=colour, label=label)
            panel.fill_between(thresholds, low, high, color=colour, alpha=0.12, linewidth=0)
    panel.set_title("all with a peer", fontsize=10)
    panel.set(xlabel="normalised return", ylabel="share of runs above")
