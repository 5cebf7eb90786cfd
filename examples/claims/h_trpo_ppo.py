"""Claim h: TRPO against PPO, everything but the update alike."""

import time
from pathlib import Path
from typing import Any

import experiment as ex
import jax
import jax.numpy as jnp

import klamp
from klamp.config.presets import configure
from klamp.runtime.seeding import Purpose, key
from klamp.training.iteration import start

TITLE = "TRPO against PPO, with everything else alike"
CLAIM = (
    "PPO reaches what TRPO reaches with first-order steps alone: it is as good, simpler, and "
    "cheaper to compute."
)
RULE = (
    "PPO against TRPO at the same budget, network, critic and batch. Held if (1) PPO's mean return "
    "over the whole training is not lower: the interval of the difference, seed by seed, reaches "
    "above −25; and (2) its update takes less time than TRPO's. PPO counts at the critic's own "
    "step size (10⁻³), its default (3·10⁻⁴) is shown beside it."
)
STEPS = {"steps": 100_000}
CASES = {
    "TRPO, δ = 0.01": klamp.TRPO(),
    "PPO, rate 1e-3": klamp.PPO(learning_rate=1e-3),
    "PPO, rate 3e-4": klamp.PPO(),
}


def update_times() -> ex.Run:
    """Seconds of one update of each case: the least of 40, measured in turn."""
    prepared: dict[str, Any] = {}
    for label, algorithm in CASES.items():
        run, state = start(configure("CartPole-v1", algorithm, {"seed": 0}))
        rollout = run.collector.collect(state.theta, None, key(0, Purpose.ACT))
        one = jnp.asarray(1.0, jnp.float32)
        rest = (rollout, None, one, key(0, Purpose.SHUFFLE), one)
        prepared[label] = (run, state, rest, [])
    for _ in range(40):
        for run, state, rest, times in prepared.values():
            began = time.perf_counter()
            jax.block_until_ready(run.learn(state.theta, state.algorithm, *rest))
            times.append(time.perf_counter() - began)
    return {label: min(times) for label, (*_, times) in prepared.items()}


def run(seeds: int, out: Path) -> ex.Verdict:
    groups = {
        label: ex.runs(ex.Case(label, algorithm, settings=STEPS), seeds)
        for label, algorithm in CASES.items()
    }
    times = ex.cached({"measured": "update times", "of": list(CASES)}, update_times)
    trpo, ppo, _ = groups.values()
    slow, fast, _ = (times[label] for label in CASES)
    difference = ex.mean(ex.areas(ppo) - ex.areas(trpo))

    drawn, (left, middle, right) = ex.figure(3)
    ex.curves(left, groups)
    ex.curves(middle, groups, "kl", "KL(old‖new) of each update, nats")
    middle.axhline(0.01, color="black", linewidth=0.8, linestyle="--")
    right.bar(list(CASES), [1000 * times[label] for label in CASES], width=0.6,
              color=["#2563eb", "#dc2626", "#059669"])  # fmt: skip
    right.set(ylabel="one update, milliseconds")
    right.tick_params(axis="x", labelsize=7)
    left.legend(frameon=False, fontsize=8)
    ex.finish(drawn, out, seeds)

    rows = [
        {
            "case": label,
            "mean return over the run": ex.mean(ex.areas(group)),
            "return of the last policy": ex.mean(ex.finals(group)),
            "steps to a return of 300": ex.mean(ex.steps_to(group, 300)),
            "KL an update, nats": ex.mean(ex.table(group, "kl").mean(axis=1)),
            "largest KL of any update": float(ex.table(group, "kl").max()),
            "update, ms": 1000 * times[label],
        }
        for label, group in groups.items()
    ]
    return ex.Verdict(
        [difference[1] > -25, fast < slow],
        f"PPO's mean return over the run differs from TRPO's by {ex.show(difference)}; an update "
        f"takes {1000 * fast:.0f} ms with PPO and {1000 * slow:.0f} ms with TRPO. The largest KL "
        f"of an update is {ex.show(float(ex.table(ppo, 'kl').max()))} with PPO and "
        f"{ex.show(float(ex.table(trpo, 'kl').max()))} with TRPO.",
        rows,
        "CartPole-v1, 100,000 steps, 8 environments × 256 steps per batch, two layers of 64, 10 "
        "epochs of minibatches of 64 for the critic in all. An update's time is the least of 40 "
        "on one machine.",
    )
