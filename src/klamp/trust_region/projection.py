"""Draw an update back along itself until it is within the trust region."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Bool, Float, Int

from klamp.mathematics.distributions import kl_divergence
from klamp.mathematics.weighting import scored, weighted_mean
from klamp.trust_region.rounding import ceiling, resolution, rounding_of
from klamp.types import Batch, Policy, PyTree

HALVINGS = 24
"""Halvings of the interval that holds the edge: as many as float32 has binary digits."""

CLOSE = 1e-3
"""A point whose KL is below the bound by less than this share of it counts as on the edge."""


class MeasuredKL(NamedTuple):
    """A mean KL(old‖new), in nats."""

    kl: Float[Array, ""]
    """As measured."""
    ceiling: Float[Array, ""]
    """The largest true one that the measured one may stand for."""
    resolution: Float[Array, ""]
    """The smallest possible ceiling: that of no change at all."""


class Projection(NamedTuple):
    """Where the update ended."""

    theta: PyTree
    fraction: Float[Array, ""]
    """The share of the update that was kept; 1 where all of it was within the region."""
    kl: Float[Array, ""]
    """The update's KL(old‖new) before it was drawn back."""
    resolution: Float[Array, ""]
    """The smallest bound that the numbers' precision can keep: see ``StepReport.kl_resolution``."""


class _Bracket(NamedTuple):
    theta: Float[Array, " n"]
    inside: Float[Array, ""]
    outside: Float[Array, ""]
    ceiling: Float[Array, ""]
    halvings: Int[Array, ""]


def mean_kl(policy: Policy, theta: PyTree, batch: Batch) -> Float[Array, ""]:
    """Mean KL(old‖π_θ) over the whole batch, in nats: what a trust region bounds."""
    new = policy(theta, batch.inputs)
    return weighted_mean(kl_divergence(p=batch.old_policy(), q=new), batch.weight)


def kl_meter(policy: Policy, theta: PyTree, batch: Batch) -> Callable[[PyTree], MeasuredKL]:
    """θ' ↦ mean KL(old‖π_θ') and its ceiling; ``theta`` is where its rounding is estimated."""
    rounding = rounding_of(policy, theta, batch)

    def measure(at: Any) -> MeasuredKL:
        new = policy(at, batch.inputs)
        kl = weighted_mean(kl_divergence(p=batch.old_policy(), q=new), batch.weight)
        return MeasuredKL(kl, ceiling(kl, new, rounding, batch.weight), resolution(rounding))

    return measure


def project_update(
    policy: Policy,
    theta: PyTree,
    new_theta: PyTree,
    batch: Batch,
    *,
    max_kl: float | Float[Array, ""],
) -> Projection:
    """``new_theta``, drawn back towards ``theta`` until mean KL(old‖new) ≤ ``max_kl`` (nats).

    θ is any pytree. Pure, and fit for jit and vmap.
    """
    clean = scored(batch)
    start, unravel = ravel_pytree(theta)
    measure = kl_meter(lambda at, inputs: policy(unravel(at), inputs), start, clean)
    found = project(measure, start, ravel_pytree(new_theta)[0], max_kl=max_kl)
    return found._replace(theta=unravel(found.theta))


def project(
    measure: Callable[[Float[Array, " n"]], MeasuredKL],
    start: Float[Array, " n"],
    end: Float[Array, " n"],
    *,
    max_kl: float | Float[Array, ""],
) -> Projection:
    """``end`` if its KL is at most ``max_kl``; else a point on the edge between it and ``start``.

    By bisection on the fraction of ``end − start``: where the KL grows along the update, as it
    does near its start, the point is the farthest within the region, to a thousandth of the
    bound. What is returned was measured, at these very bits, to be within it, rounding included; in
    the worst case that is ``start``. A comparison with NaN is false, so no point with NaN is taken.
    """
    bound = jnp.asarray(max_kl, start.dtype)
    whole = measure(end)

    def unfinished(bracket: _Bracket) -> Bool[Array, ""]:
        return (bracket.halvings < HALVINGS) & ~(bracket.ceiling >= (1 - CLOSE) * bound)

    def halve(bracket: _Bracket) -> _Bracket:
        middle = 0.5 * (bracket.inside + bracket.outside)
        theta = start + middle * (end - start)
        there = measure(theta).ceiling
        near = bracket._replace(theta=theta, inside=middle, ceiling=there)
        far = bracket._replace(outside=middle)
        chosen: _Bracket = jax.tree.map(lambda a, b: jnp.where(there <= bound, a, b), near, far)
        return chosen._replace(halvings=bracket.halvings + 1)

    zero, one = jnp.zeros_like(whole.kl), jnp.ones_like(whole.kl)
    within = _Bracket(end, one, one, bound, jnp.asarray(0))
    beyond = _Bracket(start, zero, one, zero, jnp.asarray(0))
    fits = whole.ceiling <= bound
    first = jax.tree.map(lambda a, b: jnp.where(fits, a, b), within, beyond)
    last = jax.lax.while_loop(unfinished, halve, first)
    return Projection(last.theta, last.inside, whole.kl, whole.resolution)
