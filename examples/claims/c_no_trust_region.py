"""Claim c: many epochs on one batch without a trust region collapse."""

from pathlib import Path

import experiment as ex

import klamp

TITLE = "One batch cannot be used again and again without a trust region"
CLAIM = (
    "With the probability ratio, a batch collected by the old policy can be descended many times. "
    "Without anything that holds the new policy near the old one, it runs away from the policy "
    "that collected the data, where the batch says nothing any more, and training collapses."
)
RULE = (
    "PPO with its clip taken away (ε = 10⁶) against PPO with ε = 0.2, both with K = 100 epochs a "
    "batch. Held if (1) the mean final return without the clip lies below that with it with "
    "intervals that do not overlap; and (2) at least half of the runs without it collapsed (last "
    "policy below half of the best that the same run reached)."
)
STEPS = {"steps": 50_000}
CASES = {
    "K = 10, ε = 0.2": klamp.PPO(),
    "K = 10, no clip": klamp.PPO(clip=1e6),
    "K = 100, ε = 0.2": klamp.PPO(epochs=100),
    "K = 100, no clip": klamp.PPO(clip=1e6, epochs=100),
}


def run(seeds: int, out: Path) -> ex.Verdict:
    groups = {
        label: ex.runs(ex.Case(label, algorithm, settings=STEPS), seeds)
        for label, algorithm in CASES.items()
    }
    free, clipped = groups["K = 100, no clip"], groups["K = 100, ε = 0.2"]
    low, high = ex.mean(ex.finals(free)), ex.mean(ex.finals(clipped))
    share = float(ex.collapsed(free).mean())

    drawn, (left, right) = ex.figure(2)
    ex.curves(left, groups)
    ex.curves(right, groups, "kl", "KL(old‖new) of each update, nats")
    left.legend(frameon=False, fontsize=8)
    right.set_yscale("log")
    ex.finish(drawn, out, seeds)

    rows = [
        {
            "case": label,
            "return of the last policy": ex.mean(ex.finals(group)),
            "best of the run": ex.mean(ex.bests(group)),
            "collapsed": f"{int(ex.collapsed(group).sum())} of {seeds}",
            "KL an update, nats": ex.mean(ex.table(group, "kl").mean(axis=1)),
        }
        for label, group in groups.items()
    ]
    few = groups["K = 10, no clip"]
    return ex.Verdict(
        [ex.below(low, high), share >= 0.5],
        f"With K = 100 the final return without the clip is {ex.show(low)}, with it "
        f"{ex.show(high)}; {share:.0%} of the runs without it collapsed, and the best that they "
        f"reached was {ex.show(ex.mean(ex.bests(free)))} on average. With K = 10 the same loss "
        f"without a clip returns {ex.show(ex.mean(ex.finals(few)))} "
        f"({int(ex.collapsed(few).sum())} of {seeds} collapsed).",
        rows,
        "CartPole-v1, 50,000 steps, 8 environments × 256 steps per batch, minibatches of 64, "
        "learning rate 3·10⁻⁴, two layers of 64; no clip on the value.",
    )
