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

SECANTS = 6
"""Points that are chosen by the KL's growth, before the interval that holds the edge is halved."""

HALVINGS = 24
"""Halvings of that interval: as many as float32 has binary digits."""

POWERS = (0.5, 8.0)
"""Within which the power of the KL's growth is believed."""

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
    """At ``inside``."""
    inside: Float[Array, ""]
    """The largest fraction of the update that is known to be within the region."""
    outside: Float[Array, ""]
    """The smallest one that is known not to be."""
    ceiling: Float[Array, ""]
    """That of ``theta``."""
    last: Float[Array, ""]
    """The fraction that was measured last."""
    last_ceiling: Float[Array, ""]
    power: Float[Array, ""]
    """p, where the KL is taken to grow like fraction^p."""
    tries: Int[Array, ""]


def mean_kl(policy: Policy, theta: PyTree, batch: Batch) -> Float[Array, ""]:
    """Mean KL(old‖π_θ) over the whole batch, in nats: what a trust region bounds."""
    new = policy(theta, batch.inputs)
    return weighted_mean(kl_divergence(p=batch.old_policy(), q=new), batch.weight)


def kl_meter(
    policy: Policy, theta: PyTree, batch: Batch, *, sequence: int | None = None
) -> Callable[[PyTree], MeasuredKL]:
    """θ' ↦ mean KL(old‖π_θ') and its ceiling; ``theta`` is where its rounding is estimated.

    With ``sequence``, the rounding is estimated from a sample of the rows: see ``rounding_of``.
    """
    rounding = rounding_of(policy, theta, batch, sequence=sequence)

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

    KL(old‖new) grows like the square of the fraction f of ``end − start`` near the start, and like
    some power p of it farther on: the next f is where that power through the last two points meets
    the bound (a secant of log KL over log f). The first few points are chosen so, as long as they
    lie between the largest f known to be within and the smallest known not to be; after them this
    interval is halved. Where the KL grows along the update, the point is the farthest within the
    region, to a thousandth of the bound. What is returned was measured, at these very bits, to be
    within it, rounding included; in the worst case that is ``start``. A comparison with NaN is
    false, so no point with NaN is taken.
    """
    bound = jnp.asarray(max_kl, start.dtype)
    whole = measure(end)

    def unfinished(bracket: _Bracket) -> Bool[Array, ""]:
        far = ~(bracket.ceiling >= (1 - CLOSE) * bound)
        # Where rounding alone is above the bound, no fraction is within it.
        return far & (bracket.tries < SECANTS + HALVINGS) & ~(whole.resolution > bound)

    def narrowed(bracket: _Bracket) -> _Bracket:
        fraction = _next_fraction(bracket, (1 - CLOSE / 2) * bound)
        theta = start + fraction * (end - start)
        there = measure(theta).ceiling
        near = bracket._replace(theta=theta, inside=fraction, ceiling=there)
        far = bracket._replace(outside=fraction)
        chosen: _Bracket = jax.tree.map(lambda a, b: jnp.where(there <= bound, a, b), near, far)
        growth = jnp.log(there / bracket.last_ceiling) / jnp.log(fraction / bracket.last)
        power = jnp.where(growth > 0, jnp.clip(growth, *POWERS), 2)
        return chosen._replace(
            last=fraction, last_ceiling=there, power=power, tries=bracket.tries + 1
        )

    zero, one, count = jnp.zeros_like(whole.kl), jnp.ones_like(whole.kl), jnp.asarray(0)
    last = (one, whole.ceiling, 2 * one, count)
    within, beyond = (
        _Bracket(end, one, one, bound, *last),
        _Bracket(start, zero, one, zero, *last),
    )
    fits = whole.ceiling <= bound
    first = jax.tree.map(lambda a, b: jnp.where(fits, a, b), within, beyond)
    found = jax.lax.while_loop(unfinished, narrowed, first)
    return Projection(found.theta, found.inside, whole.kl, whole.resolution)


def _next_fraction(bracket: _Bracket, target: Float[Array, ""]) -> Float[Array, ""]:
    """Where the KL is to be measured next."""
    guess = bracket.last * (target / bracket.last_ceiling) ** (1 / bracket.power)
    between = (guess > bracket.inside) & (guess < bracket.outside)
    middle = 0.5 * (bracket.inside + bracket.outside)
    return jnp.where(between & (bracket.tries < SECANTS), guess, middle)
