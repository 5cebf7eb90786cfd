"""The step beside the same step with rewards in another unit."""

from dataclasses import replace
from typing import Any

import numpy as np
import problems
import trust_region
from case import Case, Promise, agree, must

PROBLEMS = 12


def judge(case: Case) -> str:
    """Problems of one kind, each in several units; a power of two changes no digit."""
    import jax

    klamp = case.facade("trust_region_step", "Batch", "Outcome")
    kind = case.choose(problems.KINDS)
    shape = problems.Shape(kind, 2, 3)

    @jax.jit
    def step(theta: Any, batch: Any, max_kl: Any, damping: Any) -> Any:
        return klamp.trust_region_step(shape.policy, theta, batch, max_kl=max_kl, damping=damping)

    for number in range(PROBLEMS):
        drawn = trust_region.draw(case, shape, weighted=False)
        if drawn.trouble != "none" or not drawn.ordinary:
            continue
        problem = replace(drawn, damping=0.1, max_kl=0.01)
        theta, report = trust_region.take(case, klamp, step, problem)
        unit = float(2.0 ** case.choose([-90, -60, -20, 20, 60, 90]))
        scaled = replace(problem, advantage=problem.advantage * np.float32(unit))
        again, told = trust_region.take(case, klamp, step, scaled)
        names = [klamp.Outcome(int(r.outcome)).name for r in (report, told)]
        what = f"{kind}, problem {number}, rewards in a unit of {unit:g}"
        must(names[0] == names[1], f"{what}: {names[1]} where it is {names[0]} in a unit of 1")
        size = float(np.max(np.abs(theta - problem.theta)))
        agree(f"{what}: θ", again, theta, rtol=0, atol=0.02 * size)
    return kind


def _shifted(names: Any) -> None:
    """A threshold in the unit of the reward."""
    true = names.trust_region_step

    def broken(policy: Any, theta: Any, batch: Any, **more: Any) -> Any:
        import jax.numpy as jnp

        small = jnp.max(jnp.abs(batch.advantage)) < 1e-3
        kept = batch._replace(advantage=jnp.where(small, 0, jnp.clip(batch.advantage, -99, 99)))
        return true(policy, theta, kept, **more)

    names.trust_region_step = broken


PROMISE = Promise(
    name="units",
    says="a step does not depend on the unit of the reward",
    judge=judge,
    plants={"a threshold in units of reward": _shifted},
)
