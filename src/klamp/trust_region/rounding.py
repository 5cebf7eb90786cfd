"""How far a KL measured in floating point may lie from the true one.

Networks and divergences are computed in numbers of relative precision ε, so a measured mean KL of δ
may stand for a true one above δ: by little where σ is as large as the means, by any factor where
|μ|/σ is of the order of 1/ε. The bound is therefore put on ``ceiling``, the largest true KL that
the measured one may stand for.

The derivation. For small changes 2·KL(p‖q) is a squared length in Fisher's metric M, so that by the
triangle inequality √(2·KL_true) ≤ √(2·KL_measured) + E_old + E_new, where E² is the mean over the
rows of eᵀMe, and e the rounding error of the parameters of one of the two policies. It has two
parts. Each parameter x (a mean, a log σ, a logit) is stored with an error of at most ½ε|x|. And
each product in the network is rounded: to first order as if each weight θ_k had been off by ε|θ_k|
with a sign of its own, which is J(ε·s∘θ), one product with the policy's Jacobian J for a vector s
of signs. In a sum of n products each rounding is that of the partial sum so far, which is larger
than one product by up to √n: measured, a fifth of that. The signs are fixed and without pattern,
so that over many rows E² is its expectation. Of few rows it may be more: of B independent squares
the mean exceeds its expectation by a factor of (1 + 2/√B)² in one case of thousands, and several
vectors s take the place of the rows that lack.

What is left is relative: the sum over rows, the divergence's own operations, and, where KL is not
small, the error of scales, in which KL grows no faster than (2·KL + 1)·e.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from klamp.mathematics.minibatches import every_kth
from klamp.mathematics.weighting import map_rows, weighted_maximum, weighted_mean, zeroed
from klamp.types import Batch, Policy, Shared

PARAMETERS = 0.5
"""Rounding errors of a distribution's own parameters, in ε times their size."""
NETWORK = 0.2
"""Of the network's products, in ε times each weight and the root of the sum's length."""
OPERATIONS = 8.0
"""Relative errors, in ε, of the divergence itself and of the bound."""
SPARE = 1.25
"""What a step's aim leaves of the rounding errors, since those of the new policy may be larger."""
SAMPLED = 256
"""Rows that the network's part is estimated from, at least, where there are more."""
ENOUGH = 32
"""Rows, or rows times vectors of signs, that E² is averaged over."""


class Rounding(NamedTuple):
    """The rounding errors that divergences measured around one policy have."""

    of_network: Any
    """What rounding within the network does to the parameters of each row's distribution: a
    tangent of the policy's distribution for each vector of signs, along a new first axis."""
    of_old: Float[Array, ""]
    """E of the policy that the batch was drawn with."""
    relative: Float[Array, ""]
    """1 and the relative error of a mean KL."""
    thin: Callable[[Any], Any]
    """From rows of the batch to those that ``of_network`` has."""


def rounding_of(
    policy: Policy, theta: Any, batch: Batch, *, sequence: int | None = None
) -> Rounding:
    """The rounding errors of ``policy`` around ``theta``, on the rows of a batch.

    Of a batch of many rows the network's part is estimated from about ``SAMPLED`` of them, evenly
    spread; runs of ``sequence`` rows stay together. None takes all of them.
    """
    samples = batch.advantage.size
    stride = 1 if sequence is None else max(samples // SAMPLED, 1)
    thin = partial(every_kth, k=stride, sequence=sequence or 1)
    some, draws = thin(batch), -(-ENOUGH // samples)
    nudges = jax.tree.map(lambda leaf: _nudges(leaf, draws), theta)

    def product(nudge: Any) -> Any:
        return jax.jvp(lambda at: policy(at, some.inputs), (theta,), (nudge,))[1]

    # Not vmap: products with a batch of one are slower, and large batches need one vector alone.
    of_network = jax.lax.map(product, nudges)
    of_old = _size(batch.old_policy(), of_network, batch.weight, thin)
    relative = jnp.finfo(of_old.dtype).eps * (OPERATIONS + samples**0.5)
    return Rounding(of_network, of_old, 1 + relative, thin)


def ceiling(
    kl: Float[Array, ""],
    new: Any,
    rounding: Rounding,
    weight: Float[Array, "*B"] | None,
) -> Float[Array, ""]:
    """The largest true mean KL(old‖new), in nats, that a measured ``kl`` may stand for."""
    error = rounding.of_old + _size(new, rounding.of_network, weight, rounding.thin)
    length = jnp.sqrt(2 * rounding.relative * jnp.maximum(kl, 0)) + error
    return 0.5 * jnp.square(length) * (1 + 2 * error)


def attainable(max_kl: Float[Array, ""], rounding: Rounding) -> Float[Array, ""]:
    """The measured KL that a step aims at, so that its ``ceiling`` comes to just under ``max_kl``.

    ``max_kl`` itself where no KL can be told to be within it.
    """
    error = 2 * SPARE * rounding.of_old
    length = jnp.sqrt(2 * max_kl / (1 + 2 * error)) - error
    aim = 0.5 * jnp.square(length) / (SPARE * (rounding.relative - 1) + 1)
    return jnp.where(length > 0, aim, max_kl)


def resolution(rounding: Rounding) -> Float[Array, ""]:
    """The smallest KL, in nats, that can be told from none: no smaller bound can be kept."""
    error = 2 * rounding.of_old
    return 0.5 * jnp.square(error) * (1 + 2 * error)


def _size(
    distribution: Any,
    of_network: Any,
    weight: Float[Array, "*B"] | None,
    thin: Callable[[Any], Any],
) -> Float[Array, ""]:
    """E: the root mean square over the rows of a policy's rounding error, in Fisher's metric."""
    stored = _squared(distribution, map_rows(_stored, distribution))
    some, weights = thin((distribution, weight))
    network = jnp.mean(jax.vmap(lambda error: _squared(some, error))(of_network), axis=0)
    square = weighted_mean(stored, weight) + weighted_mean(network, weights)
    return (1 + 2 / jnp.sqrt(_rows(network, weights))) * jnp.sqrt(square)


def _rows(values: Float[Array, "*B"], weight: Float[Array, "*B"] | None) -> Float[Array, ""]:
    """(Σw)²/Σw²: how many rows of equal weight make a mean as certain; at least 1."""
    if weight is None:
        return jnp.full((), values.size, values.dtype)
    share = zeroed(weight, weight) / jnp.maximum(weighted_maximum(weight, weight), 1e-30)
    return jnp.maximum(jnp.square(jnp.sum(share)) / jnp.sum(jnp.square(share)), 1)


def _squared(distribution: Any, error: Any) -> Float[Array, "*B"]:
    """EᵀMe of each sample; never negative."""
    product = distribution.fisher_metric(error)
    samples = jax.eval_shape(distribution.entropy).shape

    def term(e: Any, m: Any) -> Any:
        # What is Shared is no parameter of a sample's own, and no direction of the metric.
        return None if isinstance(e, Shared) else jnp.sum((e * m).reshape(*samples, -1), axis=-1)

    terms = jax.tree.map(term, error, product, is_leaf=lambda part: isinstance(part, Shared))
    return jnp.maximum(sum(jax.tree.leaves(terms)), 0)


def _stored(parameter: Array) -> Array:
    """An error of ``PARAMETERS``·ε of each entry's size."""
    return PARAMETERS * jnp.finfo(parameter.dtype).eps * _signs(parameter.shape) * parameter


def _nudges(weights: Array, draws: int) -> Array:
    """Errors of ``NETWORK``·ε·√n of each weight's size, where sums have up to n products."""
    products = max(25, *weights.shape) if weights.shape else 25
    size = NETWORK * products**0.5 * jnp.finfo(weights.dtype).eps
    return size * _signs((draws, *weights.shape)) * weights


def _signs(shape: tuple[int, ...]) -> Array:
    """±1 without a pattern: a bit of the place's hash."""
    place = jnp.arange(math.prod(shape), dtype=jnp.uint32)
    mixed = (place + 1) * jnp.uint32(2654435769)
    mixed = (mixed ^ (mixed >> 15)) * jnp.uint32(2246822519)
    return jnp.where((mixed >> 13) & 1, 1, -1).reshape(shape)
