"""Every distribution offers the whole interface; divergences are named by direction."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from klamp.mathematics.distributions import (
    Bernoulli,
    Categorical,
    DiagonalGaussian,
    Distribution,
    Joint,
    MultiCategorical,
    ScaledBeta,
    SquashedGaussian,
    kl_divergence,
)

ROWS = jnp.ones((2, 4))
GAUSSIAN = DiagonalGaussian(ROWS, 0.0)
ALL = (
    Categorical(ROWS),
    MultiCategorical(ROWS, (1, 3)),
    Bernoulli(ROWS),
    GAUSSIAN,
    SquashedGaussian(GAUSSIAN, -jnp.ones(4), jnp.ones(4)),
    ScaledBeta(ROWS, ROWS, -jnp.ones(4), jnp.ones(4)),
    Joint((Categorical(ROWS), GAUSSIAN)),
)


@pytest.mark.parametrize("distribution", ALL, ids=lambda d: type(d).__name__)
def test_each_offers_the_interface(distribution: Distribution) -> None:
    assert isinstance(distribution, Distribution)
    assert jax.eval_shape(lambda d: kl_divergence(p=d, q=d), distribution).shape == (2,)


@pytest.mark.parametrize("distribution", ALL, ids=lambda d: type(d).__name__)
def test_noise_needs_no_parameters(distribution: Distribution) -> None:
    """Collectors draw it from the shapes alone; ``sample`` is ``sample_from`` of it."""
    shapes = jax.eval_shape(lambda d: d, distribution)

    @jax.jit
    def pairs(key: jax.Array, given: Distribution) -> list[tuple[Any, Any]]:
        noise = shapes.noise(key, (3,))
        many = given.sample_from(noise)
        each, again = (jax.tree.map(lambda leaf: leaf[1], of) for of in (noise, many))
        return [
            (many, given.sample_from(given.noise(key, (3,)))),
            (given.sample(key), given.sample_from(given.noise(key))),
            (given.sample_from(each), again),
        ]

    for found, expected in pairs(jax.random.key(0), distribution):
        jax.tree.map(np.testing.assert_array_equal, found, expected)


def test_divergences_have_no_positional_form() -> None:
    with pytest.raises(TypeError):
        kl_divergence(GAUSSIAN, GAUSSIAN)  # pyright: ignore
