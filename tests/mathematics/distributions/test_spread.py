"""The spread of each action dimension, from its definition and from samples."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from klamp import Categorical, DiagonalGaussian
from klamp.mathematics.distributions import (
    Bernoulli,
    Joint,
    MultiCategorical,
    ScaledBeta,
    SquashedGaussian,
)
from klamp.mathematics.distributions.spread import dimensions, narrowest

OUT = jax.random.normal(jax.random.key(0), (5, 4))
GAUSSIAN = DiagonalGaussian(OUT[:, :2], jnp.asarray([0.3, -1.0]))


@pytest.mark.parametrize(
    "distribution",
    [
        Categorical(OUT),
        MultiCategorical(OUT, (1, 3)),
        Bernoulli(OUT),
        Joint((Categorical(OUT[:, :2]), Bernoulli(OUT[:, 2:]))),
    ],
    ids=lambda of: type(of).__name__,
)
def test_entropies_of_choices_add_up_to_that_of_the_action(distribution: object) -> None:
    found = dimensions(distribution)
    assert {name for name, _ in found} == {"choice_entropy"}
    total = np.sum([np.asarray(entropy) for _, entropy in found], axis=0)
    np.testing.assert_allclose(total, distribution.entropy(), rtol=1e-5, atol=1e-6)


@pytest.mark.compiles
def test_deviations_are_those_of_samples() -> None:
    beta = ScaledBeta(jnp.exp(OUT[:, :2]), jnp.exp(OUT[:, 2:]), (-2.0, 0.0), (2.0, 0.5))
    for distribution, map_to_action in ((GAUSSIAN, lambda a: a), (beta, beta.squash)):
        drawn = distribution.sample_from(distribution.noise(jax.random.key(1), (40_000,)))
        expected = np.std(np.asarray(map_to_action(drawn)), axis=0)
        told = np.stack([np.asarray(std) for _, std in dimensions(distribution)], axis=-1)
        np.testing.assert_allclose(told, expected, rtol=0.03)


def test_of_a_squashed_gaussian_it_is_that_before_squashing() -> None:
    squashed = SquashedGaussian(GAUSSIAN, (-1.0, -1.0), (1.0, 1.0))
    for (_, a), (_, b) in zip(dimensions(squashed), dimensions(GAUSSIAN), strict=True):
        np.testing.assert_array_equal(a, b)


def test_the_narrowest_is_named_by_its_place_in_the_action() -> None:
    joint = Joint((Categorical(OUT[:, :3]), GAUSSIAN, Bernoulli(jnp.full((5, 2), 9.0))))
    found = {name: float(value) for name, value in narrowest(joint).items()}
    assert found["action_std_min_dimension"] == 2
    assert found["action_std_min"] == pytest.approx(np.exp(-1.0))
    assert found["choice_entropy_min_dimension"] == 3
    p = 1 / (1 + np.exp(9.0))
    assert found["choice_entropy_min"] == pytest.approx(
        -p * np.log(p) - (1 - p) * np.log1p(-p), rel=1e-3
    )


def test_rows_of_weight_zero_do_not_count_and_nothing_is_said_of_strangers() -> None:
    narrow = Categorical(jnp.asarray([[0.0, 0.0], [jnp.nan, 9.0]]))
    told = narrowest(narrow, jnp.asarray([1.0, 0.0]))
    assert float(told["choice_entropy_min"]) == pytest.approx(np.log(2))
    assert narrowest(object()) == {}
