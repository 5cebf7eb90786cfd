"""Solve Ax = b for a symmetric positive-definite A that is only known as v ↦ Av."""

from collections.abc import Callable
from enum import IntEnum
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Bool, Float, Int

from klamp.mathematics.magnitude import power_of_two
from klamp.types import PyTree


class CGStatus(IntEnum):
    """Why conjugate gradient stopped."""

    CONVERGED = 0
    """The true residual is within the tolerance."""
    MAX_ITERATIONS = 1
    """It is not, after all iterations or at the last digit of b; the solution is the best of its
    Krylov space."""
    NONPOSITIVE_CURVATURE = 2
    """A direction with pᵀAp ≤ 0 came up: A is indefinite or singular. The solution is the one
    before that direction."""
    NON_FINITE = 3
    """b or A gave NaN or infinity; the solution is zero."""


class CGResult(NamedTuple):
    """A solution, and how far to trust it."""

    solution: PyTree
    """x, structured like b."""
    residual_norm: Float[Array, ""]
    """‖b − Ax‖, computed from x and not from the recurrence, which drifts."""
    iterations: Int[Array, ""]
    """Products with A inside the loop."""
    status: Int[Array, ""]
    """A ``CGStatus``, as its integer."""


class _State(NamedTuple):
    x: Float[Array, " n"]
    residual: Float[Array, " n"]
    direction: Float[Array, " n"]
    residual_squared: Float[Array, ""]
    iterations: Int[Array, ""]
    halted: Bool[Array, ""]


def conjugate_gradient(
    matvec: Callable[[PyTree], PyTree],
    b: PyTree,
    *,
    max_iterations: int = 10,
    tolerance: float = 1e-10,
) -> CGResult:
    """Conjugate gradient from x₀ = 0 (Hestenes & Stiefel 1952; Nocedal & Wright, alg. 5.2).

    Stops when ‖r‖ ≤ ``tolerance``·‖b‖ (in float32 already at 1e-7·‖b‖, the rounding error of b),
    when a direction has no positive curvature, or after ``max_iterations``. It never divides by a
    curvature that is not positive: zero, singular, indefinite and non-finite systems end with a
    status and a finite x. ``b`` is any pytree. One product with A is spent at the end on the true
    residual, so CONVERGED is never a rounding error of the recurrence.
    """
    return solve(matvec, b, max_iterations=max_iterations, tolerance=tolerance)[0]


def solve(
    matvec: Callable[[PyTree], PyTree],
    b: PyTree,
    *,
    max_iterations: int = 10,
    tolerance: float = 1e-10,
) -> tuple[CGResult, PyTree]:
    """``conjugate_gradient``, and the product Ax that its true residual was measured with."""
    flat_b, unravel = ravel_pytree(b)

    def product(v: Float[Array, " n"]) -> Float[Array, " n"]:
        return ravel_pytree(matvec(unravel(v)))[0]

    # Solved in units of b's size: a squared norm in float32 underflows to 0, the mark of success,
    # from 1e-19 downwards, and overflows from 1e19 upwards. A power of two divides exactly.
    unit = power_of_two(jnp.max(jnp.abs(flat_b), initial=0))
    flat_b = flat_b / unit
    goal = jnp.square(tolerance) * (flat_b @ flat_b)
    epsilon = jnp.finfo(flat_b.dtype).eps
    # A residual below b's own rounding error points nowhere: on a singular A it leads into the null
    # space, and x, already solved, is lost there.
    floor = jnp.square(jnp.maximum(tolerance, epsilon)) * (flat_b @ flat_b)

    def unfinished(state: _State) -> Bool[Array, ""]:
        more = (state.iterations < max_iterations) & ~state.halted
        return more & (state.residual_squared > floor)

    def iterate(state: _State) -> _State:
        a_p = product(state.direction)
        curvature = state.direction @ a_p
        # Relative, since curvature scales with p: below this it is a rounding error of the product.
        noise = epsilon * (jnp.abs(state.direction) @ jnp.abs(a_p))
        usable = (curvature > noise) & jnp.isfinite(curvature)
        alpha = state.residual_squared / jnp.where(usable, curvature, 1)
        residual = state.residual - alpha * a_p
        squared = residual @ residual
        direction = residual + squared / state.residual_squared * state.direction
        moved = _State(
            state.x + alpha * state.direction,
            residual,
            direction,
            squared,
            state.iterations + 1,
            jnp.asarray(False),
        )
        stopped = state._replace(iterations=state.iterations + 1, halted=jnp.asarray(True))
        return jax.tree.map(lambda new, old: jnp.where(usable, new, old), moved, stopped)

    zero, squared = jnp.zeros_like(flat_b), flat_b @ flat_b
    start = _State(zero, flat_b, flat_b, squared, jnp.asarray(0), ~jnp.isfinite(squared))
    end = jax.lax.while_loop(unfinished, iterate, start)
    return _conclude(product, flat_b, unit, end, goal, unravel)


def _conclude(
    product: Callable[[Array], Array],
    b: Float[Array, " n"],
    unit: Float[Array, ""],
    end: _State,
    goal: Float[Array, ""],
    unravel: Callable[[Array], Any],
) -> tuple[CGResult, Any]:
    """The true residual, and the status that follows from it; ``b`` and x are in units."""
    a_x, x = product(end.x), end.x * unit
    finite = jnp.all(jnp.isfinite(a_x)) & jnp.all(jnp.isfinite(x)) & jnp.all(jnp.isfinite(b))
    residual = b - a_x
    squared = residual @ residual
    status = jnp.where(end.halted, CGStatus.NONPOSITIVE_CURVATURE, CGStatus.MAX_ITERATIONS)
    status = jnp.where(squared <= goal, CGStatus.CONVERGED, status)
    status = jnp.where(finite, status, CGStatus.NON_FINITE)
    solution = jnp.where(finite, x, 0)
    residual_norm = jnp.where(finite, jnp.sqrt(squared) * unit, jnp.inf)
    result = CGResult(unravel(solution), residual_norm, end.iterations, status)
    return result, unravel(jnp.where(finite, a_x * unit, 0))
