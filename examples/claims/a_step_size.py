"""Claim a: a large step size collapses the plain policy gradient; TRPO does not collapse."""

from pathlib import Path
from typing import Any

import experiment as ex

import klamp

TITLE = "A step that is too long destroys a policy; a trust region prevents it"
CLAIM = (
    "The plain policy gradient has one step size for all parameters and all updates. Make it "
    "larger and training does not become faster but collapses: one step too long gives a bad "
    "policy, the bad policy collects bad data, and there is no way back. TRPO bounds how far the "
    "*policy* moves, so that none of the bounds δ up to 0.05 that one would try collapses."
)
RULE = (
    "A run has collapsed if its last policy returns less than half of the best that the same run "
    "reached. Held if (1) at the learning rate with the most collapses at least half of the "
    "REINFORCE runs collapsed, and its mean final return lies below that of the best smaller "
    "learning rate with intervals that do not overlap; and (2) no TRPO run collapsed at any δ."
)
STEPS = {"steps": 100_000}
PLAIN = STEPS | {"rollout_length": 128}
"""REINFORCE takes one step a rollout, so many short ones, as its preset has it."""
RATES = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0)
BOUNDS = (0.001, 0.005, 0.01, 0.05)


def run(seeds: int, out: Path) -> ex.Verdict:
    def group(label: str, algorithm: Any, settings: dict[str, int]) -> list[ex.Run]:
        return ex.runs(ex.Case(label, algorithm, settings=settings), seeds)

    plain = {
        rate: group(f"rate {rate:g}", klamp.REINFORCE(learning_rate=rate), PLAIN) for rate in RATES
    }
    trust = {bound: group(f"δ {bound:g}", klamp.TRPO(max_kl=bound), STEPS) for bound in BOUNDS}
    worst = max(RATES, key=lambda rate: (ex.collapsed(plain[rate]).mean(), rate))
    smaller = [rate for rate in RATES if rate < worst] or [worst]
    best = max(smaller, key=lambda rate: ex.finals(plain[rate]).mean())
    share = float(ex.collapsed(plain[worst]).mean())
    trpo_collapses = sum(int(ex.collapsed(group).sum()) for group in trust.values())
    top, bottom = ex.mean(ex.finals(plain[best])), ex.mean(ex.finals(plain[worst]))
    parts = [share >= 0.5 and ex.below(bottom, top), trpo_collapses == 0]
    speed = {bound: ex.mean(ex.steps_to(group, 300)) for bound, group in trust.items()}

    drawn, (left, middle, right) = ex.figure(3)
    for axes, found, name, title, colour in (
        (left, plain, "learning rate", "REINFORCE", ex.COLOURS[1]),
        (middle, trust, "δ, nats", "TRPO", ex.COLOURS[0]),
    ):
        for measure, label, shade in (
            (ex.bests, "best of the run", "#9ca3af"),
            (ex.finals, "last policy", colour),
        ):
            ex.points(
                axes, list(found), [ex.mean(measure(g)) for g in found.values()], label, shade
            )
        axes.set(xscale="log", xlabel=name, ylabel="return", title=title)
    ex.band(right, plain[best], "return_mean", f"REINFORCE {best:g}", ex.COLOURS[2])
    ex.band(right, plain[worst], "return_mean", f"REINFORCE {worst:g}", ex.COLOURS[1])
    ex.band(right, trust[0.001], "return_mean", "TRPO δ = 0.001", ex.COLOURS[5])
    ex.band(right, trust[0.05], "return_mean", "TRPO δ = 0.05", ex.COLOURS[0])
    right.set(xlabel="environment steps, thousands", ylabel="return (last 100 training episodes)")
    for axes in (left, middle, right):
        axes.set_ylim(0, 520)
        axes.legend(frameon=False, fontsize=8)
    ex.finish(drawn, out, seeds)

    rows = [
        {
            "case": f"{name} = {value:g}",
            "return of the last policy": ex.mean(ex.finals(group)),
            "best of the run": ex.mean(ex.bests(group)),
            "collapsed": f"{int(ex.collapsed(group).sum())} of {seeds}",
            "steps to a return of 300": ex.mean(ex.steps_to(group, 300)),
        }
        for name, groups in (("REINFORCE, learning rate", plain), ("TRPO, δ", trust))
        for value, group in groups.items()
    ]
    return ex.Verdict(
        parts,
        f"REINFORCE at a learning rate of {worst:g}: {share:.0%} of the runs collapsed, final "
        f"return {ex.show(bottom)} against {ex.show(top)} at {best:g}. TRPO: {trpo_collapses} of "
        f"{seeds * len(BOUNDS)} runs collapsed. What δ does decide is speed: a return of 300 took "
        + "; ".join(
            f"{ex.show(speed[bound])} steps at δ = {bound:g}" for bound in (0.001, 0.01, 0.05)
        )
        + ".",
        rows,
        "CartPole-v1, 100,000 steps, 8 environments × 256 steps per batch (REINFORCE: × 128), two "
        "layers of 64. REINFORCE with a learned V as baseline, one Adam step per batch. A run that "
        "never reached 300 counts with all its steps.",
    )
