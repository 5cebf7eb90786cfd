"""How much of a step is taken: the part within the trust region, or all of it.

``Backtracking`` shortens the step until the surrogate improved and the KL is within the region, and
is TRPO's; ``FullStep`` takes it as it is, and is that of the natural policy gradient.
"""

from collections.abc import Callable
from typing import NamedTuple, Protocol, runtime_checkable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from klamp.trust_region.rounding import Rounding, attainable


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
    undefined: Bool[Array, ""]
    """Whether it was given up because of NaN or infinity."""


@runtime_checkable
class Search(Protocol):
    """How much of a step is taken. A pytree; both functions are pure and traceable."""

    def aim(self, max_kl: Float[Array, ""], rounding: Rounding) -> Float[Array, ""]:
        """The KL, in nats, that the quadratic model gives the full step."""
        ...

    def along(
        self, evaluate: Callable[[Float[Array, ""]], Candidate], max_kl: Float[Array, ""]
    ) -> SearchResult:
        """The fraction it ends at; ``evaluate(fraction)`` measures start + fraction·step."""
        ...


class Backtracking(eqx.Module):
    """The first of the fractions 1, ρ, ρ², … of a step that improves and keeps to the region."""

    ratio: float | Float[Array, ""] = 0.8
    """ρ: factor by which the step is shortened, in (0, 1)."""
    max_backtracks: int = eqx.field(default=10, static=True)
    """Reductions of the step before it is refused, ≥ 0."""

    def aim(self, max_kl: Float[Array, ""], rounding: Rounding) -> Float[Array, ""]:
        """A little below ``max_kl``: the margin that the rounding of the measured KL needs."""
        return attainable(max_kl, rounding)

    def along(
        self, evaluate: Callable[[Float[Array, ""]], Candidate], max_kl: Float[Array, ""]
    ) -> SearchResult:
        """See ``backtracking_line_search``."""
        return backtracking_line_search(
            evaluate,
            max_kl=max_kl,
            backtrack_ratio=self.ratio,
            max_backtracks=self.max_backtracks,
        )


class FullStep(eqx.Module):
    """The whole step, whatever it comes to, unless that is NaN or infinity."""

    def aim(self, max_kl: Float[Array, ""], rounding: Rounding) -> Float[Array, ""]:
        """``max_kl`` itself: nothing is measured against it."""
        return max_kl

    def along(
        self, evaluate: Callable[[Float[Array, ""]], Candidate], max_kl: Float[Array, ""]
    ) -> SearchResult:
        """All of it."""
        whole = jnp.ones_like(max_kl)
        there = evaluate(whole)
        finite = jnp.isfinite(there.gain) & jnp.isfinite(there.kl)
        return SearchResult(finite, whole, jnp.asarray(0), there, ~finite)


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
        undefined = jnp.isnan(at.gain) | jnp.isnan(at.kl)
        return SearchResult(accepted, fraction, backtracks, at, undefined)

    def unfinished(result: SearchResult) -> Bool[Array, ""]:
        return ~result.accepted & (result.backtracks < max_backtracks)

    def shorten(result: SearchResult) -> SearchResult:
        return judge(result.fraction * backtrack_ratio, result.backtracks + 1)

    first = judge(jnp.ones_like(max_kl), jnp.asarray(0))
    return jax.lax.while_loop(unfinished, shorten, first)
