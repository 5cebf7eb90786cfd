"""The natural gradient x = (F + λI)⁻¹∇E[r·Â], its length, and what its quadratic model predicts."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from klamp.mathematics.magnitude import power_of_two
from klamp.mathematics.minibatches import number_of_rows, scan_minibatches, take_rows
from klamp.mathematics.weighting import zeroed
from klamp.runtime.cpu_matmul import rows_first
from klamp.trust_region.conjugate_gradient import solve
from klamp.trust_region.fisher import fisher_operator
from klamp.trust_region.report import Outcome
from klamp.trust_region.surrogate import surrogate
from klamp.types import Batch, Policy

BLOCK = 32
"""Sequences whose gradient is taken at once."""


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


def surrogate_gradient(
    policy: Policy, theta: Float[Array, " n"], batch: Batch
) -> Float[Array, " n"]:
    """The gradient g = ∇E[r·Â].

    Of many sequences, g is summed over blocks of them, so that the activations are those of one
    block: fresh memory for all of them at once took as long as the arithmetic.
    """
    sequences = number_of_rows(batch)
    weight = batch.weight
    if weight is None or weight.ndim == 1 or sequences <= BLOCK:
        return rows_first(jax.grad(lambda at: surrogate(policy, at, batch)))(theta)
    rows = jnp.arange(-(-sequences // BLOCK) * BLOCK).reshape(-1, BLOCK)
    blocks = take_rows(batch, jnp.where(rows < sequences, rows, -1), sequences)
    total = jnp.sum(zeroed(weight, weight))

    def add(summed: Float[Array, " n"], block: Batch) -> Float[Array, " n"]:
        own = rows_first(jax.grad(lambda at: surrogate(policy, at, block)))(theta)
        share = jnp.sum(zeroed(block.weight, block.weight)) / jnp.where(total > 0, total, 1)
        return summed + share * own

    return scan_minibatches(add, jnp.zeros_like(theta), blocks)


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
    gradient = surrogate_gradient(policy, theta, batch)
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
