"""Claim g: a fixed penalty β against one that adapts, over several targets."""

from pathlib import Path
from typing import Any

import experiment as ex
import numpy as np

import klamp

TITLE = "A fixed penalty β, or one that follows a target"
CLAIM = (
    "No single β suits all problems, nor one problem all the time: the same price of a nat allows "
    "steps of very different sizes. Adapting β to a target KL gives steps of the size that was "
    "asked for, whatever the problem."
)
RULE = (
    "A step size is *as asked* if a run's median KL over the second half of training lies within "
    "a factor of 2 of the target. Held if (1) for every target on both environments the interval "
    "of the mean over seeds lies within that factor; and (2) at least one fixed β gives KLs on the "
    "two environments that differ by more than a factor of 2, intervals apart."
)
ENVS = ("CartPole-v1", "Pendulum-v1")
SETTINGS = {ENVS[0]: {"steps": 50_000, "discount": 0.98}, ENVS[1]: {"steps": 50_000}}
TARGETS = (0.003, 0.01, 0.03)
FIXED = (0.1, 1.0, 10.0)


def size(group: list[ex.Run]) -> list[float]:
    """The median KL of each run's later half."""
    kl = ex.table(group, "kl")
    return ex.mean(np.median(kl[:, kl.shape[1] // 2 :], axis=1))


def run(seeds: int, out: Path) -> ex.Verdict:
    def group(env: str, **own: Any) -> list[ex.Run]:
        label = f"{env} " + ", ".join(f"{name} {value}" for name, value in own.items())
        return ex.runs(ex.Case(label, klamp.PPOPenalty(**own), env, SETTINGS[env]), seeds)

    adaptive = {env: {t: group(env, target_kl=t) for t in TARGETS} for env in ENVS}
    fixed = {env: {b: group(env, target_kl=None, kl_coefficient=b) for b in FIXED} for env in ENVS}
    met = {
        (env, t): t / 2 < size(found)[1] and size(found)[2] < 2 * t
        for env in ENVS
        for t, found in adaptive[env].items()
    }
    apart = []
    for b in FIXED:
        low, high = sorted((size(fixed[env][b]) for env in ENVS), key=lambda value: value[0])
        apart.append((high[0] / low[0], high[0] > 2 * low[0] and high[1] > low[2]))

    drawn, (left, middle, right) = ex.figure(3)
    for axes, env in ((left, ENVS[0]), (middle, ENVS[1])):
        for colour, (t, found) in zip(ex.COLOURS, adaptive[env].items(), strict=False):
            ex.band(axes, found, "kl", f"target {t:g}", colour, window=3)
            axes.axhline(t, color=colour, linewidth=0.8, linestyle="--")
        for colour, (b, found) in zip(("#9ca3af", "#6b7280", "#111827"), fixed[env].items(),
                                      strict=True):  # fmt: skip
            ex.band(axes, found, "kl", f"β = {b:g}", colour, window=3)
        axes.set(yscale="log", ylim=(1e-5, 1), xlabel="environment steps, thousands", title=env,
                 ylabel="KL(old‖new), nats, mean of 3 updates")  # fmt: skip
    left.legend(frameon=False, fontsize=7, ncols=2, loc="lower left")
    for colour, (t, found) in zip(ex.COLOURS, adaptive[ENVS[0]].items(), strict=False):
        ex.band(right, found, "kl_coefficient", f"target {t:g}", colour)
    right.set(yscale="log", xlabel="environment steps, thousands", ylabel="β", title=ENVS[0])
    ex.finish(drawn, out, seeds)

    rows = [
        {
            "case": f"{env}, {name} {value:g}",
            "median KL, second half, nats": size(found),
            "as asked": ("yes" if met[env, value] else "no") if name == "target" else "",
            "return of the last policy": ex.mean(ex.finals(found)),
        }
        for env in ENVS
        for name, cases in (("target", adaptive[env]), ("β =", fixed[env]))
        for value, found in cases.items()
    ]
    return ex.Verdict(
        [all(met.values()), any(found for _, found in apart)],
        f"The step was as asked for {sum(met.values())} of {len(met)} targets. The same fixed β "
        "gave KLs that differ between the environments by factors of "
        + ", ".join(f"{ex.show(float(factor))} (β = {b:g})" for b, (factor, _) in
                    zip(FIXED, apart, strict=True)) + ".",
        rows,
        "PPO with a penalty (`ppo-kl`), 50,000 steps, 8 environments × 256 per batch, K = 10, "
        "minibatches of 64; β starts at 1. CartPole-v1 with γ = 0.98, Pendulum-v1 with its preset "
        "(γ = 0.9, normalised observations). The curves are means over seeds, which single long "
        "steps pull above the median that the rule is about.",
    )  # fmt: skip
