"""Every distribution offers the whole interface; divergences are named by direction."""

import jax.numpy as jnp
import pytest

from klamp.distributions import (
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
    assert kl_divergence(p=distribution, q=distribution).shape == (2,)


def test_divergences_have_no_positional_form() -> None:
    with pytest.raises(TypeError):
        kl_divergence(GAUSSIAN, GAUSSIAN)  # pyright: ignore
