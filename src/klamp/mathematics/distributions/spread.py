"""How wide a distribution still is in each dimension of its action."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from klamp.mathematics.distributions.bernoulli import Bernoulli
from klamp.mathematics.distributions.beta import ScaledBeta
from klamp.mathematics.distributions.categorical import Categorical
from klamp.mathematics.distributions.gaussian import DiagonalGaussian
from klamp.mathematics.distributions.joint import Joint
from klamp.mathematics.distributions.multicategorical import MultiCategorical
from klamp.mathematics.distributions.squashed import SquashedGaussian
from klamp.mathematics.weighting import weighted_mean

Dimensions = list[tuple[str, Float[Array, "*B"]]]
"""For each dimension of the action the name of its measure, and that measure in each row."""

CHOICE, CONTINUOUS = "choice_entropy", "action_std"


def dimensions(distribution: object) -> Dimensions:
    """The spread of each dimension of an action, in the order of the action's numbers.

    ``CHOICE``: the entropy of one choice, in nats, ≥ 0. ``CONTINUOUS``: the standard deviation of
    one number, in the action's units; of a squashed Gaussian, that before it is squashed. Empty
    for distributions that are not klamp's own.
    """
    match distribution:
        case Categorical():
            found = [(CHOICE, distribution.entropy())]
        case MultiCategorical():
            found = [(CHOICE, part.entropy()) for part in distribution.parts]
        case Bernoulli():
            columns = jnp.moveaxis(distribution.logits, -1, 0)
            found = [(CHOICE, Bernoulli(column[..., None]).entropy()) for column in columns]
        case DiagonalGaussian():
            found = _continuous(jnp.exp(distribution.log_std))
        case SquashedGaussian():
            found = dimensions(distribution.base)
        case ScaledBeta():
            a, b = distribution.alpha, distribution.beta
            width = jnp.asarray(distribution.high, a.dtype) - jnp.asarray(distribution.low, a.dtype)
            found = _continuous(width * jnp.sqrt(a * b / (a + b + 1)) / (a + b))
        case Joint():
            found = [of for part in distribution.parts for of in dimensions(part)]
        case _:
            found = []
    return found


def narrowest(
    distribution: object, weight: Float[Array, "*B"] | None = None
) -> dict[str, Float[Array, ""]]:
    """The dimension with the smallest mean spread, among choices and among continuous ones.

    For each of the two measures that occurs, `…_min` is the mean over rows, and
    `…_min_dimension` counts the action's dimensions from 0.
    """
    found: dict[str, Any] = {}
    spreads = dimensions(distribution)
    for name in (CHOICE, CONTINUOUS):
        where = [i for i, (measure, _) in enumerate(spreads) if measure == name]
        if where:
            rows = jnp.stack([spreads[i][1] for i in where])
            means = jax.vmap(lambda row: weighted_mean(row, weight))(rows)
            least = jnp.argmin(means)
            found[f"{name}_min"] = means[least]
            found[f"{name}_min_dimension"] = jnp.asarray(where)[least]
    return found


def _continuous(std: Float[Array, "*B a"]) -> Dimensions:
    return [(CONTINUOUS, column) for column in jnp.moveaxis(std, -1, 0)]
