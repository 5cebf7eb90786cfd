"""One trust-region step: g → x = (F + λI)⁻¹g → √(2δ/xᵀ(F + λI)x)·x → search → report.

With ``Backtracking`` it is the whole of TRPO's policy update (arXiv:1502.05477, §6 and App. C),
with ``FullStep`` that of the natural policy gradient.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float

from klamp.mathematics.weighting import scored
from klamp.trust_region.line_search import Backtracking, Search, SearchResult
from klamp.trust_region.natural_gradient import Direction, natural_direction
from klamp.trust_region.projection import mean_kl
from klamp.trust_region.report import Outcome, StepReport
from klamp.trust_region.rounding import resolution, rounding_of
from klamp.trust_region.surrogate import in_units, surrogate, surrogate_and_kl
from klamp.types import Batch, Policy


def trust_region_step(
    policy: Policy,
    theta: Any,
    batch: Batch,
    *,
    max_kl: float | Float[Array, ""] = 0.01,
    damping: float | Float[Array, ""] = 0.1,
    cg_iterations: int = 10,
    backtrack_ratio: float | Float[Array, ""] = 0.8,
    max_backtracks: int = 10,
    search: Search | None = None,
    fisher_batch: Batch | None = None,
    sequence: int | None = None,
) -> tuple[Any, StepReport]:
    """The θ of highest surrogate found within mean KL(old‖new) ≤ ``max_kl``, and the report.

    ``policy(theta, inputs)`` returns a distribution with one row per sample; ``theta`` is any
    pytree. ``max_kl`` δ > 0 is in nats, per state, summed over action dimensions and averaged over
    states; ``damping`` λ ≥ 0 is added to the Fisher matrix; ``backtrack_ratio`` is in (0, 1).
    ``search`` says how much of the step is taken: by default
    ``Backtracking(backtrack_ratio, max_backtracks)``; with ``FullStep()``, the natural policy
    gradient, δ is what the quadratic model predicts, and nothing checks it.
    ``fisher_batch`` has rows for the Fisher matrix alone, where they are not the batch's: fewer,
    to save time (arXiv:1502.05477, App. C). ``sequence`` says that the policy may be asked about
    runs of so many rows by themselves, so that rounding is estimated from a sample of the batch.
    Pure, and fit for jit and vmap.

    With the default search the returned θ either improved the surrogate with a true mean KL of at
    most δ, or is the θ that came in, bit for bit, and ``StepReport.outcome`` says why.
    """
    dtype = jnp.result_type(*jax.tree.leaves(theta))
    if search is None:
        search = Backtracking(jnp.asarray(backtrack_ratio, dtype), max_backtracks)
    max_kl, damping = jnp.asarray(max_kl, dtype), jnp.asarray(damping, dtype)
    return _jitted_step(
        policy, theta, batch, max_kl, damping, cg_iterations, search, fisher_batch, sequence
    )


@eqx.filter_jit
def _jitted_step(
    policy: Policy,
    theta: Any,
    batch: Batch,
    max_kl: Float[Array, ""],
    damping: Float[Array, ""],
    cg_iterations: int,
    search: Search,
    fisher_batch: Batch | None,
    sequence: int | None,
) -> tuple[Any, StepReport]:
    flat, unravel = ravel_pytree(theta)
    clean, unit = in_units(scored(batch))

    def flat_policy(at: Float[Array, " n"], inputs: Any) -> Any:
        return policy(unravel(at), inputs)

    rounding = rounding_of(flat_policy, flat, clean, sequence=sequence)
    direction = natural_direction(
        flat_policy,
        flat,
        clean,
        max_kl=search.aim(max_kl, rounding),
        damping=damping,
        cg_iterations=cg_iterations,
        fisher_batch=fisher_batch,
    )
    step, evaluate = direction.step(), surrogate_and_kl(flat_policy, flat, clean, rounding)
    found = search.along(lambda fraction: evaluate(flat + fraction * step), max_kl)
    moved = unravel(flat + found.fraction * step)

    before, kl = surrogate(flat_policy, flat, clean), mean_kl(flat_policy, flat, clean)
    report = _report(direction, found, before, kl, unit, resolution(rounding))
    accepted = report.outcome == Outcome.ACCEPTED
    # `where` on the leaves that came in, so that a refused step returns their very bits.
    return jax.tree.map(lambda new, old: jnp.where(accepted, new, old), moved, theta), report


def _report(
    direction: Direction,
    found: SearchResult,
    surrogate: Float[Array, ""],
    kl: Float[Array, ""],
    unit: Float[Array, ""],
    kl_resolution: Float[Array, ""],
) -> StepReport:
    """What is to be said of a step from where ``surrogate`` and ``kl`` were measured.

    Surrogate and gains are in units of the advantages' ``unit`` as they come in.
    """
    refused = jnp.where(found.undefined, Outcome.NON_FINITE, Outcome.LINE_SEARCH_EXHAUSTED)
    result = jnp.where(found.accepted, Outcome.ACCEPTED, refused)
    hindrance = direction.outcome()
    outcome = jnp.where(hindrance == Outcome.ACCEPTED, result, hindrance)
    accepted = outcome == Outcome.ACCEPTED
    last, predicted = found.candidate, direction.metrics(found.fraction, unit)
    gain = jnp.where(accepted, last.gain, 0)
    return StepReport(
        outcome=outcome,
        surrogate_before=surrogate * unit,
        surrogate_after=(surrogate + gain) * unit,
        kl=jnp.where(accepted, last.kl, kl),
        gain_actual=gain * unit,
        kl_tried=last.kl,
        gain_tried=last.gain * unit,
        step_scale=jnp.where(accepted, predicted.pop("step_scale"), 0),
        backtracks=found.backtracks,
        kl_resolution=kl_resolution,
        **predicted,
    )
