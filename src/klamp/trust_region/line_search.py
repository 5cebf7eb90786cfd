"""Backtrack along a step until the surrogate improved and the exact KL is within the region."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int


class Candidate(NamedTuple):
    """What the line search asks of a point."""

    gain: Float[Array, ""]
    """Improvement of the objective over the starting point."""
    gain_floor: Float[Array, ""]
    """The rounding error of ``gain``: a smaller improvement is not one."""
    kl: Float[Array, ""]
    """Exact mean KL(old‖candidate), in nats."""


class SearchResult(NamedTuple):
    """Where the search ended."""

    accepted: Bool[Array, ""]
    fraction: Float[Array, ""]
    """The share of the full step that was tried last."""
    backtracks: Int[Array, ""]
    """Reductions of the step; 0 when the full step was tried last."""
    candidate: Candidate
    """What was measured there."""


def kl_bound(max_kl: Float[Array, ""]) -> Float[Array, ""]:
    """The largest *measured* mean KL that guarantees a *true* one of at most δ.

    A KL near δ is a sum of squares of log-ratios of size √(2δ), each known to one rounding error
    ε, hence a relative error of about 2ε/√(2δ); four of them are kept in reserve.
    """
    epsilon = jnp.finfo(max_kl.dtype).eps
    return max_kl * jnp.maximum(1 - 4 * epsilon / jnp.sqrt(max_kl), 0)


def backtracking_line_search(
    evaluate: Callable[[Float[Array, ""]], Candidate],
    *,
    max_kl: Float[Array, ""],
    backtrack_ratio: float | Float[Array, ""] = 0.8,
    max_backtracks: int = 10,
) -> SearchResult:
    """The first of the fractions 1, ρ, ρ², …, ρ^max_backtracks of a step that may be taken.

    A point may be taken when its objective is higher than at the start and its exact mean
    KL(old‖new) is at most ``max_kl`` (arXiv:1502.05477, App. C): *any* improvement, and no slack
    on δ. A comparison with NaN is false, so a point with NaN is never taken.
    ``evaluate(fraction)`` measures the point start + fraction·step.
    """
    bound = kl_bound(max_kl)

    def judge(fraction: Float[Array, ""], backtracks: Int[Array, ""]) -> SearchResult:
        at = evaluate(fraction)
        accepted = (at.gain > at.gain_floor) & (at.kl <= bound)
        return SearchResult(accepted, fraction, backtracks, at)

    def unfinished(result: SearchResult) -> Bool[Array, ""]:
        return ~result.accepted & (result.backtracks < max_backtracks)

    def shorten(result: SearchResult) -> SearchResult:
        return judge(result.fraction * backtrack_ratio, result.backtracks + 1)

    first = judge(jnp.ones_like(max_kl), jnp.asarray(0))
    return jax.lax.while_loop(unfinished, shorten, first)
