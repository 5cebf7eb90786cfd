"""Claim f: policy and critic that share their layers, under PPO and under TRPO."""

from pathlib import Path
from typing import Any

import experiment as ex
import numpy as np

import klamp

TITLE = "Shared layers: TRPO is said to need separate networks"
CLAIM = (
    "TRPO cannot be used where policy and critic share layers, because the critic's fit moves the "
    "policy after the trust region was measured; PPO, which descends both losses together, can."
)
RULE = (
    "The claim is about TRPO, so it is tested on TRPO. Held if, with shared layers, the KL of a "
    "whole update (critic's fit included) exceeds δ = 0.01 in any update of any seed, or TRPO "
    "fails to learn: it takes more than 1.5 times as many steps to a return of 300 as with "
    "separate networks (lower end of the ratio's interval). If neither, it did not hold."
)
STEPS = {"steps": 100_000}
BOUND = 0.01
KINDS: dict[str, Any] = {
    "separate": {},
    "shared": {"shared_network": True},
    "shared, scaled rewards": {"shared_network": True, "normalize_reward": True},
}
"""Scaled rewards make the value loss as small as the surrogate; added after the first runs."""


def run(seeds: int, out: Path) -> ex.Verdict:
    groups = {
        f"{name}, {kind}": ex.runs(
            ex.Case(f"{name}, {kind}", algorithm, settings=STEPS | extra),
            seeds,
        )
        for name, algorithm in (("TRPO", klamp.TRPO(max_kl=BOUND)), ("PPO", klamp.PPO()))
        for kind, extra in KINDS.items()
        if (name, kind) != ("TRPO", "shared, scaled rewards")
    }
    largest = float(ex.table(groups["TRPO, shared"], "kl").max())
    steps = {label: ex.steps_to(group, 300) for label, group in groups.items()}
    ratio = ex.mean(steps["TRPO, shared"] / steps["TRPO, separate"])
    ppo, scaled = (
        ex.mean(steps[f"PPO, {kind}"] / steps["PPO, separate"]) for kind in list(KINDS)[1:]
    )

    drawn, (left, right) = ex.figure(2)
    ex.curves(left, groups)
    ex.curves(right, groups, "kl", "KL(old‖new) of each whole update, nats")
    right.set_yscale("log")
    right.axhline(BOUND, color="black", linewidth=0.8, linestyle="--")
    left.legend(frameon=False, fontsize=8)
    ex.finish(drawn, out, seeds)

    rows = [
        {
            "case": label,
            "steps to a return of 300": ex.mean(ex.steps_to(group, 300)),
            "return of the last policy": ex.mean(ex.finals(group)),
            "KL an update, nats": ex.mean(ex.table(group, "kl").mean(axis=1)),
            "largest KL of any update": float(np.nanmax(ex.table(group, "kl"))),
        }
        for label, group in groups.items()
    ]
    return ex.Verdict(
        [largest > BOUND or ratio[1] > 1.5],
        f"TRPO with shared layers: the largest KL of any whole update is {largest:.5f}, and a "
        f"return of 300 took {ex.show(ratio)} times the steps of separate networks. PPO with "
        f"shared layers took {ex.show(ppo)} times the steps, and {ex.show(scaled)} times with "
        "scaled rewards: there both losses pull at the same layers at once, and the value loss of "
        "unscaled returns is by far the larger.",
        rows,
        "CartPole-v1, 100,000 steps, 8 environments × 256 steps per batch, two layers of 64. In "
        "klamp the critic's fit under TRPO is held within what the policy's step left of δ.",
    )
