"""Every distribution offers the whole interface; divergences are named by direction."""

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
    key = jax.random.key(0)
    shapes = jax.eval_shape(lambda d: d, distribution)
    noise = shapes.noise(key, (3,))
    many = distribution.sample_from(noise)
    expected = distribution.sample_from(distribution.noise(key, (3,)))
    jax.tree.map(np.testing.assert_array_equal, many, expected)
    one = distribution.sample(key)
    sampled = distribution.sample_from(distribution.noise(key))
    jax.tree.map(np.testing.assert_array_equal, one, sampled)
    each = jax.tree.map(lambda leaf: leaf[1], noise)
    again = jax.tree.map(lambda leaf: leaf[1], many)
    jax.tree.map(np.testing.assert_array_equal, distribution.sample_from(each), again)


def test_divergences_have_no_positional_form() -> None:
    with pytest.raises(TypeError):
        kl_divergence(GAUSSIAN, GAUSSIAN)  # pyright: ignore
