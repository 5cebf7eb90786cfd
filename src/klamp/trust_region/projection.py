"""Draw an update back along itself until it is within the trust region."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from klamp.distributions import kl_divergence
from klamp.trust_region.line_search import kl_bound
from klamp.types import Batch, Policy
from klamp.weighting import weighted_mean

HALVINGS = 24
"""Of the interval that holds the edge: as many as float32 has digits."""

CLOSE = 1e-3
"""A point whose KL is below the bound by less than this share of it counts as on the edge."""


class Projection(NamedTuple):
    """Where the update ended."""

    theta: Float[Array, " n"]
    fraction: Float[Array, ""]
    """The share of the update that was kept; 1 where all of it was within the region."""
    kl: Float[Array, ""]
    """The update's KL(old‖new) before it was drawn back."""


class _Bracket(NamedTuple):
    theta: Float[Array, " n"]
    inside: Float[Array, ""]
    outside: Float[Array, ""]
    kl: Float[Array, ""]
    halvings: Int[Array, ""]


def mean_kl(policy: Policy, theta: Any, batch: Batch) -> Float[Array, ""]:
    """Exact mean KL(old‖π_θ) over the whole batch, in nats: what a trust region bounds."""
    new = policy(theta, batch.inputs)
    return weighted_mean(kl_divergence(p=batch.old, q=new), batch.weight)


def project(
    kl_at: Callable[[Float[Array, " n"]], Float[Array, ""]],
    start: Float[Array, " n"],
    end: Float[Array, " n"],
    *,
    max_kl: float | Float[Array, ""],
) -> Projection:
    """``end`` if its KL is at most ``max_kl``; else a point on the edge between it and ``start``.

    By bisection on the fraction of ``end − start``: where the KL grows along the update, as it
    does near its start, the point is the farthest within the region, to a thousandth of the
    bound. What is returned was measured, at these very bits, to be within it; in the worst case
    that is ``start``. A comparison with NaN is false, so no point with NaN is taken.
    """
    bound = kl_bound(jnp.asarray(max_kl, start.dtype))
    kl = kl_at(end)

    def unfinished(bracket: _Bracket) -> Bool[Array, ""]:
        return (bracket.halvings < HALVINGS) & ~(bracket.kl >= (1 - CLOSE) * bound)

    def halve(bracket: _Bracket) -> _Bracket:
        middle = 0.5 * (bracket.inside + bracket.outside)
        theta = start + middle * (end - start)
        there = kl_at(theta)
        near = bracket._replace(theta=theta, inside=middle, kl=there)
        far = bracket._replace(outside=middle)
        chosen: _Bracket = jax.tree.map(lambda a, b: jnp.where(there <= bound, a, b), near, far)
        return chosen._replace(halvings=bracket.halvings + 1)

    zero, one = jnp.zeros_like(kl), jnp.ones_like(kl)
    within = _Bracket(end, one, one, bound, jnp.asarray(0))
    beyond = _Bracket(start, zero, one, zero, jnp.asarray(0))
    first = jax.tree.map(lambda a, b: jnp.where(kl <= bound, a, b), within, beyond)
    last = jax.lax.while_loop(unfinished, halve, first)
    return Projection(last.theta, last.inside, kl)
