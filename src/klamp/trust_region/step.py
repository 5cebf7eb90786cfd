"""One trust-region step: g → x = (F + λI)⁻¹g → √(2δ/xᵀ(F + λI)x)·x → search → report.

With ``Backtracking`` it is the whole of TRPO's policy update (arXiv:1502.05477, §6 and App. C),
with ``FullStep`` that of the natural policy gradient.
"""

from collections.abc import Callable
from enum import IntEnum
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, Int

from klamp.mathematics.distributions import kl_divergence
from klamp.mathematics.magnitude import power_of_two
from klamp.mathematics.weighting import scored, weighted_mean, zeroed
from klamp.runtime.cpu_matmul import rows_first
from klamp.trust_region.conjugate_gradient import solve
from klamp.trust_region.fisher import fisher_operator
from klamp.trust_region.line_search import Backtracking, Candidate, Search, SearchResult
from klamp.trust_region.projection import mean_kl
from klamp.trust_region.rounding import Rounding, ceiling, resolution, rounding_of
from klamp.types import Batch, Policy


class Outcome(IntEnum):
    """What became of an update. On all but ACCEPTED and PROJECTED, θ is bit-identical."""

    ACCEPTED = 0
    """The update was made."""
    ZERO_GRADIENT = 1
    """No direction improves the surrogate: advantages of zero, or a policy that cannot move."""
    NONPOSITIVE_CURVATURE = 2
    """xᵀ(F + λI)x ≤ 0: the KL has no curvature along the step. More damping mends it."""
    LINE_SEARCH_EXHAUSTED = 3
    """No fraction of the step improved the surrogate within the trust region, or none can be told
    to be within it: see ``StepReport.kl_resolution``."""
    NON_FINITE = 4
    """NaN or infinity in the batch, the gradient or the step, or a KL or surrogate of NaN."""
    PROJECTED = 5
    """PPO with ``max_kl``: the update left the trust region and was drawn back to its edge."""


class StepReport(NamedTuple):
    """Everything there is to say about one step. KLs in nats; all measured on the whole batch."""

    outcome: Int[Array, ""]
    """An ``Outcome``, as its integer."""
    surrogate_before: Float[Array, ""]
    """E[r·Â] at the start."""
    surrogate_after: Float[Array, ""]
    """E[r·Â] at the returned θ."""
    kl: Float[Array, ""]
    """Exact mean KL(old‖new) at the returned θ."""
    kl_predicted: Float[Array, ""]
    """½ sᵀFs of the step s that was tried last: what the quadratic model says of its KL."""
    gain_predicted: Float[Array, ""]
    """gᵀs of the step that was tried last: what the linear model says of its gain."""
    gain_actual: Float[Array, ""]
    """The surrogate's improvement at the returned θ."""
    kl_tried: Float[Array, ""]
    """Mean KL(old‖new) of the step that was tried last, as measured."""
    gain_tried: Float[Array, ""]
    """The surrogate's improvement there."""
    step_scale: Float[Array, ""]
    """The factor on x that was applied; 0 where no step was taken."""
    backtracks: Int[Array, ""]
    """Reductions of the step by the line search."""
    damping_share: Float[Array, ""]
    """λxᵀx / xᵀ(F + λI)x: how much of the step's length the damping takes; NaN where the form is
    not positive."""
    cg_iterations: Int[Array, ""]
    """Fisher-vector products inside conjugate gradient."""
    cg_residual: Float[Array, ""]
    """‖g − (F + λI)x‖ / ‖g‖, true and not from the recurrence."""
    cg_status: Int[Array, ""]
    """A ``CGStatus``, as its integer."""
    gradient_norm: Float[Array, ""]
    """‖g‖ of the surrogate."""
    kl_resolution: Float[Array, ""]
    """The smallest ``max_kl`` that the numbers' precision can keep for this policy and batch; a
    smaller one is refused as LINE_SEARCH_EXHAUSTED. It grows with (|μ|/σ)²."""


class Direction(NamedTuple):
    """The natural gradient, and what its quadratic model predicts.

    Gradient and x are in units of ``unit``, a power of two: their squares neither over- nor
    underflow, and the step scale·x is the same whatever the unit of the rewards.
    """

    gradient: Float[Array, " n"]
    x: Float[Array, " n"]
    unit: Float[Array, ""]
    scale: Float[Array, ""]
    """√(2δ / xᵀ(F + λI)x): the full step is scale·x."""
    damped_curvature: Float[Array, ""]
    """xᵀ(F + λI)x."""
    curvature: Float[Array, ""]
    """xᵀFx."""
    cg_iterations: Int[Array, ""]
    cg_residual: Float[Array, ""]
    cg_status: Int[Array, ""]

    def outcome(self) -> Int[Array, ""]:
        """Why no step can be made along this direction; ACCEPTED where one can."""
        curved = self.damped_curvature > 0
        result = jnp.where(curved, Outcome.ACCEPTED, Outcome.NONPOSITIVE_CURVATURE)
        result = jnp.where(jnp.any(self.gradient != 0), result, Outcome.ZERO_GRADIENT)
        # The step's own length may overflow although each factor is finite.
        finite = jnp.all(jnp.isfinite(self.gradient)) & jnp.all(jnp.isfinite(self.x))
        return jnp.where(finite & jnp.isfinite(self.scale), result, Outcome.NON_FINITE)

    def step(self) -> Float[Array, " n"]:
        """The full step; zero where its length is not finite."""
        return jnp.where(jnp.isfinite(self.scale), self.scale, 0) * self.x

    def metrics(
        self, fraction: Float[Array, ""], advantage_unit: Float[Array, ""]
    ) -> dict[str, Array]:
        """What the models predict for this share of the step, and how the direction was found."""
        scale, unit = fraction * self.scale, self.unit * advantage_unit
        curved = self.damped_curvature > 0
        return {
            "kl_predicted": 0.5 * jnp.square(scale) * self.curvature,
            "gain_predicted": scale * (self.gradient @ self.x) * unit,
            "step_scale": scale / unit,
            "damping_share": 1 - self.curvature / jnp.where(curved, self.damped_curvature, jnp.nan),
            "cg_iterations": self.cg_iterations,
            "cg_residual": self.cg_residual,
            "cg_status": self.cg_status,
            "gradient_norm": jnp.linalg.norm(self.gradient) * unit,
        }


def natural_direction(
    policy: Policy,
    theta: Float[Array, " n"],
    batch: Batch,
    *,
    max_kl: Float[Array, ""],
    damping: float | Float[Array, ""],
    cg_iterations: int,
    fisher_batch: Batch | None = None,
) -> Direction:
    """The natural gradient x = (F + λI)⁻¹∇E[r·Â] by conjugate gradient, and its length.

    The scale's quadratic form keeps the damping, as every implementation has it: the predicted KL
    ½s²xᵀFx is then below δ by the damping's share. Its product is the one that conjugate gradient
    measured its residual with. ``fisher_batch`` serves F alone.
    """
    gradient = rows_first(jax.grad(lambda at: _surrogate(policy, at, batch)))(theta)
    unit = power_of_two(jnp.max(jnp.abs(gradient), initial=0))
    gradient = gradient / unit
    about = batch if fisher_batch is None else fisher_batch
    fisher = fisher_operator(policy, theta, about.inputs, weight=about.weight, damping=damping)
    solution, product = solve(fisher, gradient, max_iterations=cg_iterations)
    x = solution.solution
    damped = x @ product
    norm = jnp.linalg.norm(gradient)
    return Direction(
        gradient=gradient,
        x=x,
        unit=unit,
        scale=jnp.sqrt(2 * max_kl / jnp.where(damped > 0, damped, 1)),
        damped_curvature=damped,
        curvature=damped - damping * (x @ x),
        cg_iterations=solution.iterations,
        cg_residual=solution.residual_norm / jnp.where(norm > 0, norm, 1),
        cg_status=solution.status,
    )


def in_units(batch: Batch) -> tuple[Batch, Float[Array, ""]]:
    """The batch, its advantages divided by a power of two of the largest; and that unit.

    No sum or square of them over- or underflows then, and no digit changes.
    """
    largest = jnp.max(jnp.abs(zeroed(batch.advantage, batch.weight)), initial=0)
    unit = power_of_two(largest)
    return batch._replace(advantage=batch.advantage / unit), unit


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

    before, kl = _surrogate(flat_policy, flat, clean), mean_kl(flat_policy, flat, clean)
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


def surrogate_and_kl(
    policy: Policy, theta: Float[Array, " n"], batch: Batch, rounding: Rounding
) -> Callable[[Float[Array, " n"]], Candidate]:
    """θ' ↦ (gain, rounding error of the gain, KL(old‖π_θ') and its ceiling), relative to ``theta``.

    The gain E[(r' − r)·Â] is computed as E[r·expm1(log r' − log r)·Â]: the difference of two
    means of size E|Â| would drown a small step's gain in their rounding.
    """
    log_prob = policy(theta, batch.inputs).log_prob(batch.action)
    ratio = jnp.exp(log_prob - batch.old_policy().log_prob(batch.action))
    scale = weighted_mean(jnp.abs(ratio * batch.advantage), batch.weight)
    floor = 2 * jnp.finfo(theta.dtype).eps * scale

    def evaluate(at: Float[Array, " n"]) -> Candidate:
        new = policy(at, batch.inputs)
        change = jnp.expm1(new.log_prob(batch.action) - log_prob)
        gain = weighted_mean(ratio * change * batch.advantage, batch.weight)
        # A policy may be finite where a parameter is not.
        gain = jnp.where(jnp.all(jnp.isfinite(at)), gain, jnp.nan)
        kl = weighted_mean(kl_divergence(p=batch.old_policy(), q=new), batch.weight)
        return Candidate(gain, floor, kl, ceiling(kl, new, rounding, batch.weight))

    return evaluate


def _surrogate(policy: Policy, theta: Float[Array, " n"], batch: Batch) -> Float[Array, ""]:
    """E[r·Â] at θ."""
    log_prob = policy(theta, batch.inputs).log_prob(batch.action)
    ratio = jnp.exp(log_prob - batch.old_policy().log_prob(batch.action))
    return weighted_mean(ratio * batch.advantage, batch.weight)
