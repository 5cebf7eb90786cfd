"""Claim e: fresh dropout masks break TRPO; one mask per transition does not."""

from pathlib import Path
from typing import Any

import experiment as ex
import jax.numpy as jnp
import numpy as np
from fresh_masks import fresh

import klamp
from klamp.mathematics.distributions import kl_divergence
from klamp.types import Inputs

TITLE = "Dropout and TRPO: a fresh mask on every call, or one mask per transition"
CLAIM = (
    "TRPO compares a policy with itself, before and after a step. With dropout as it is commonly "
    "programmed, every call of the network draws fresh masks, so the policy differs from itself "
    "before any step is made: KL(old‖old) is not 0, the line search judges noise, and the method "
    "cannot be used. With one mask per transition, drawn once and kept, it can."
)
RULE = (
    "Held if, at each dropout rate, (1) KL(old‖old) is above 0 with fresh masks and exactly 0 with "
    "shared ones, in every run; and (2) the mean return over the whole training is lower with "
    "fresh masks, with intervals that do not overlap."
)
STEPS = {"steps": 100_000}
RATES = (0.1, 0.5)


def itself(result: klamp.Result) -> ex.Run:
    """KL(old‖old) of the last policy, in two calls on the same inputs."""
    generator = np.random.default_rng(0)
    observation = jnp.asarray(generator.uniform(-0.2, 0.2, (512, 4)), jnp.float32)
    keys = jnp.asarray(generator.integers(0, 2**32, (512, 2), np.uint32))
    model, theta = result.policy.model, result.policy.theta
    first, second = (model.distribution(theta, Inputs(observation, None, keys)) for _ in range(2))
    return {"kl_itself": float(kl_divergence(p=first, q=second).mean())}


def run(seeds: int, out: Path) -> ex.Verdict:
    groups = {"no dropout": ex.runs(ex.Case("no dropout", klamp.TRPO(), settings=STEPS), seeds)}
    zero, slower, said = [], [], []
    for rate in RATES:
        options = {"settings": STEPS | {"dropout": rate}, "measure": itself}
        kept = ex.runs(ex.Case(f"{rate:g}, shared", klamp.TRPO(), **options), seeds)
        forgetful = ex.Case(f"{rate:g}, fresh", klamp.TRPO(), network=fresh(rate), **options)
        forgot = ex.runs(forgetful, seeds)
        groups |= {f"{rate:g}, shared masks": kept, f"{rate:g}, fresh masks": forgot}
        exact = all(run["kl_itself"] == 0 for run in kept)
        zero.append(exact and all(run["kl_itself"] > 0 for run in forgot))
        good, bad = ex.mean(ex.areas(kept)), ex.mean(ex.areas(forgot))
        slower.append(ex.below(bad, good))
        said.append(
            f"At rate {rate:g} KL(old‖old) is {ex.show(_itself(forgot))} with fresh masks and "
            f"{'exactly 0' if exact else 'not 0'} with shared ones; {refused(forgot).mean():.0%} "
            f"against {refused(kept).mean():.0%} of the updates were refused; mean return over the "
            f"run {ex.show(bad)} against {ex.show(good)}."
        )
    drawn, (left, right) = ex.figure(2)
    ex.curves(left, groups)
    ex.curves(right, groups, "kl", "measured KL of each update, nats")
    left.legend(frameon=False, fontsize=8)
    right.axhline(0.01, color="black", linewidth=0.8, linestyle="--")
    ex.finish(drawn, out, seeds)
    rows = [
        {
            "case": label,
            "KL(old‖old), nats": _itself(group),
            "updates refused": f"{refused(group).mean():.0%}",
            "KL measured of refused updates": _measured(group),
            "mean return over the run": ex.mean(ex.areas(group)),
            "return of the last policy": ex.mean(ex.finals(group)),
        }
        for label, group in groups.items()
    ]
    settings = (
        "CartPole-v1, TRPO, δ = 0.01 (dashed), 100,000 steps, 8 environments × 256 per batch; "
        "dropout after both hidden layers of the policy, none in the critic, none in the last "
        "policy's episodes. KL(old‖old): the last policy on 512 states near the upright position, "
        "called twice. A refused update leaves the policy as it was, so that a KL measured of it "
        "is a KL(old‖old) too, on the batch."
    )
    return ex.Verdict([all(zero), all(slower)], " ".join(said), rows, settings)


def refused(group: list[ex.Run]) -> Any:
    """[seeds, updates]: whether the update made no step."""
    updates = min(len(run["outcome"]) for run in group)
    return np.array([[o != "ACCEPTED" for o in run["outcome"][:updates]] for run in group])


def _itself(group: list[ex.Run]) -> Any:
    return ex.mean([run["kl_itself"] for run in group]) if "kl_itself" in group[0] else "0"


def _measured(group: list[ex.Run]) -> Any:
    chosen = refused(group)
    return float(ex.table(group, "kl")[chosen].mean()) if chosen.any() else "none refused"
