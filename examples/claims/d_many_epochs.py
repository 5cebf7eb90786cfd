"""Claim d: with many epochs PPO drifts out of the trust region, and ``max_kl`` prevents it."""

from pathlib import Path
from typing import Any

import experiment as ex
import numpy as np

import klamp

TITLE = "The clip is no trust region: with many epochs PPO drifts out of it"
CLAIM = (
    "The clip takes away the reward for moving the probability ratio beyond 1 ± ε; it does not "
    "stop it from moving. With K = 100 epochs a batch PPO leaves the neighbourhood of the old "
    "policy. `max_kl` holds it there: after the epochs the exact KL of the whole batch is "
    "measured, and an update that went too far is drawn back (outcome `PROJECTED`)."
)
BOUND = 0.01
MARGINS = {"CartPole-v1": 25, "Pendulum-v1": 50}
"""About 5 % of the way from the worst return to the best."""
RULE = (
    f"The trust region is TRPO's default, a mean KL of {BOUND} nats an update. Held if in both "
    "environments (1) with K = 100 more than half of all updates lie outside it, and with K = 10 "
    f"fewer do (intervals that do not overlap); (2) with K = 100 and `max_kl={BOUND}` no update "
    "lies outside; and (3) its final return is not worse than that of K = 10: the interval of the "
    "difference, seed by seed, lies above −25 on CartPole-v1 and −50 on Pendulum-v1."
)
STEPS = {"steps": 50_000}
CASES = {
    "K = 10": klamp.PPO(),
    "K = 100": klamp.PPO(epochs=100),
    f"K = 100, max_kl = {BOUND}": klamp.PPO(epochs=100, max_kl=BOUND),
}


def outside(group: list[ex.Run]) -> np.ndarray:
    """The share of each run's updates whose KL exceeds the bound."""
    return (ex.table(group, "kl") > BOUND).mean(axis=1)


def projected(group: list[ex.Run]) -> float:
    """The share of all updates that were drawn back."""
    return float(np.mean([o == "PROJECTED" for run in group for o in run["outcome"]]))


def judge(env: str, groups: dict[str, list[ex.Run]]) -> tuple[list[bool], str]:
    """The three parts of the rule in one environment, and their figures."""
    few, many, bounded = groups.values()
    left_few, left_many = ex.mean(outside(few)), ex.mean(outside(many))
    difference = ex.mean(ex.finals(bounded) - ex.finals(few))
    farthest, largest = (float(ex.table(group, "kl").max()) for group in (many, bounded))
    parts = [
        left_many[0] > 0.5 and left_few[2] < left_many[1],
        largest <= BOUND,
        difference[1] > -MARGINS[env],
    ]
    return parts, (
        f"{env}: outside the trust region lay {left_few[0]:.0%} of the updates with K = 10 and "
        f"{left_many[0]:.0%} with K = 100 (largest KL {ex.show(farthest)}). With `max_kl` "
        f"{projected(bounded):.0%} of the updates were drawn back, the largest KL is "
        f"{largest:.5f}, and the final return differs from that of K = 10 by "
        f"{ex.show(difference)}."
    )


def run(seeds: int, out: Path) -> ex.Verdict:
    found: dict[str, dict[str, Any]] = {
        env: {
            label: ex.runs(ex.Case(f"{env} {label}", algorithm, env, STEPS), seeds)
            for label, algorithm in CASES.items()
        }
        for env in MARGINS
    }
    judged = [judge(env, groups) for env, groups in found.items()]
    drawn, panels = ex.figure(3)
    for axes, (env, groups) in zip(panels, found.items(), strict=False):
        ex.curves(axes, groups, "kl", "KL(old‖new) of each update, nats")
        axes.axhline(BOUND, color="black", linewidth=0.8, linestyle="--", label="bound")
        axes.set_title(env)
    ex.curves(panels[2], found["Pendulum-v1"], "ratio_max", "largest probability ratio of a batch")
    panels[2].set_title("Pendulum-v1")
    panels[0].legend(frameon=False, fontsize=8)
    ex.finish(drawn, out, seeds)

    rows = [
        {
            "case": f"{env}, {label}",
            "updates outside": ex.mean(outside(group)),
            "KL an update, nats": ex.mean(ex.table(group, "kl").mean(axis=1)),
            "largest KL": float(ex.table(group, "kl").max()),
            "largest ratio": ex.mean(ex.table(group, "ratio_max").max(axis=1)),
            "smallest effective sample size": ex.mean(
                ex.table(group, "effective_sample_size").min(axis=1)
            ),
            "drawn back": f"{projected(group):.0%}",
            "return of the last policy": ex.mean(ex.finals(group)),
        }
        for env, groups in found.items()
        for label, group in groups.items()
    ]
    return ex.Verdict(
        [all(met) for met in zip(*(parts for parts, _ in judged), strict=True)],
        " ".join(said for _, said in judged),
        rows,
        "50,000 steps, 8 environments × 256 steps per batch, minibatches of 64, ε = 0.2, learning "
        "rate 3·10⁻⁴, two layers of 64; Pendulum-v1 with its preset (γ = 0.9, normalised "
        "observations). Pendulum-v1 was added after the runs on CartPole-v1.",
    )
