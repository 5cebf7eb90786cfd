"""Backtrack along a step until the surrogate improved and the KL is within the region."""

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
    """Mean KL(old‖candidate) as measured, in nats."""
    kl_ceiling: Float[Array, ""]
    """The largest true mean KL that the measured one may stand for."""


class SearchResult(NamedTuple):
    """Where the search ended."""

    accepted: Bool[Array, ""]
    fraction: Float[Array, ""]
    """The share of the full step that was tried last."""
    backtracks: Int[Array, ""]
    """Reductions of the step; 0 when the full step was tried last."""
    candidate: Candidate
    """What was measured there."""


def backtracking_line_search(
    evaluate: Callable[[Float[Array, ""]], Candidate],
    *,
    max_kl: Float[Array, ""],
    backtrack_ratio: float | Float[Array, ""] = 0.8,
    max_backtracks: int = 10,
) -> SearchResult:
    """The first of the fractions 1, ρ, ρ², …, ρ^max_backtracks of a step that may be taken.

    A point may be taken when its objective is higher than at the start and its mean KL(old‖new)
    is at most ``max_kl`` (arXiv:1502.05477, App. C): *any* improvement, and no slack on δ, rounding
    included. A comparison with NaN is false, so a point with NaN is never taken.
    ``evaluate(fraction)`` measures the point start + fraction·step.
    """

    def judge(fraction: Float[Array, ""], backtracks: Int[Array, ""]) -> SearchResult:
        at = evaluate(fraction)
        accepted = (at.gain > at.gain_floor) & (at.kl_ceiling <= max_kl)
        return SearchResult(accepted, fraction, backtracks, at)

    def unfinished(result: SearchResult) -> Bool[Array, ""]:
        return ~result.accepted & (result.backtracks < max_backtracks)

    def shorten(result: SearchResult) -> SearchResult:
        return judge(result.fraction * backtrack_ratio, result.backtracks + 1)

    first = judge(jnp.ones_like(max_kl), jnp.asarray(0))
    return jax.lax.while_loop(unfinished, shorten, first)
