"""`learning.png`: the curves of every task that has a peer, and the performance profile of all."""

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


def picture(present: list[tuple[Row, Runs]], path: Path) -> None:
    """Draw what is there; nothing where no task has a peer yet."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    both = pairs(present)
    envs = list(dict.fromkeys(row.env for row, *_ in both))
    if not envs:
        return
    across = min(4, len(envs) + 1)
    down = -(-(len(envs) + 1) // across)
    figure, panels = plt.subplots(down, across, figsize=(3.4 * across, 2.6 * down), squeeze=False)
    axes = list(panels.flat)
    for env, panel in zip(envs, axes, strict=False):
        for row, runs in present:
            if row.env == env and (row.system, row.algo) in STYLE and not row.over_preset:
                _curve(panel, runs, STYLE[row.system, row.algo])
        panel.set(title=env, xlabel="steps", ylabel="return")
    _profiles(axes[len(envs)], both)
    for panel in axes[len(envs) + 1 :]:
        panel.axis("off")
    for panel in axes[: len(envs) + 1]:
        panel.grid(alpha=0.3)
    for panel in axes[: len(envs)]:
        panel.locator_params(axis="x", nbins=4)
    axes[0].legend(fontsize=7)
    figure.tight_layout()
    figure.savefig(path, dpi=80)
    plt.close(figure)


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
    panel.set(title="all of these", xlabel="normalised return", ylabel="share of runs above")
