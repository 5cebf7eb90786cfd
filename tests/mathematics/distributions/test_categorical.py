"""Masked choices: probability exactly 0, and nothing that is not finite anywhere."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from distribution_checks import check_fisher, check_monte_carlo, precision

from klamp import Categorical, kl_divergence
from klamp.mathematics.distributions.joint import mask_size

MASK = jnp.asarray([[True, True, False, True, False], [False, False, False, True, False]])
NOTHING = jnp.zeros((2, 5), bool)


def logits(seed: int) -> jax.Array:
    return 3 * jax.random.normal(jax.random.key(seed), (2, 5))


def test_masked_entropy_and_divergence_by_monte_carlo() -> None:
    mask = jnp.asarray([[True, True, False, True, False], [False, True, True, False, True]])
    check_monte_carlo(Categorical(logits(0)).masked(mask), Categorical(logits(1)).masked(mask))


def test_masked_fisher() -> None:
    mask = jnp.arange(30).reshape(6, 5) % 3 > 0
    check_fisher(lambda out: Categorical(out).masked(mask), 5)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_forbidden_actions_have_probability_exactly_zero(dtype: str) -> None:
    with precision(dtype):
        raw = jnp.asarray(logits(0), dtype)
        probability = jnp.exp(Categorical(raw).masked(MASK).log_probabilities)
        assert np.all(np.asarray(probability)[~np.asarray(MASK)] == 0)
        np.testing.assert_allclose(probability.sum(axis=-1), 1, atol=1e-6)
        allowed = np.asarray(raw)[0, [0, 1, 3]].astype(np.float64)
        expected = np.exp(allowed) / np.exp(allowed).sum()
        np.testing.assert_allclose(np.asarray(probability)[0, [0, 1, 3]], expected, rtol=1e-5)


def test_probabilities_of_many_actions_sum_to_one() -> None:
    many = 10 * jax.random.normal(jax.random.key(0), (1, 100_000))
    mask = jax.random.bernoulli(jax.random.key(1), 0.5, many.shape)
    total = np.exp(np.asarray(Categorical(many).masked(mask).log_probabilities, np.float64)).sum()
    assert abs(total - 1) < 1e-6


@pytest.mark.parametrize("millions", [1, pytest.param(10, marks=pytest.mark.compiles)])
def test_forbidden_actions_are_never_sampled(millions: int) -> None:
    """In parts of a million draws; the allowed ones come in the right proportions."""
    distribution = Categorical(jnp.asarray([9.0, 0.0, 0.5, 0.0])).masked(
        jnp.asarray([False, True, True, False])
    )

    @jax.jit
    def count(key: jax.Array) -> jax.Array:
        drawn = distribution.sample_from(distribution.noise(key, (1_000_000,)))
        return jnp.sum(drawn[:, None] == jnp.arange(4), axis=0)

    counts = sum(np.asarray(count(jax.random.key(i)), np.int64) for i in range(millions))
    assert counts[0] == 0
    assert counts[3] == 0
    share = 1 / (1 + np.exp(0.5))
    draws = 1e6 * millions
    assert abs(counts[1] / draws - share) < 4 * np.sqrt(share * (1 - share) / draws)


@pytest.mark.parametrize("mask", [MASK, NOTHING], ids=["one allowed", "none allowed"])
def test_everything_is_finite_under_a_mask(mask: jax.Array) -> None:
    def quantities(raw: jax.Array) -> jax.Array:
        p, q = Categorical(raw).masked(mask), Categorical(logits(1)).masked(mask)
        tangent = p.fisher_metric(Categorical(jnp.ones_like(raw))).logits
        chosen = p.log_prob(p.mode())
        return jnp.stack(
            [chosen, p.entropy(), kl_divergence(p=p, q=q), kl_divergence(p=q, q=p)], axis=-1
        ) + tangent.sum(axis=-1, keepdims=True)

    raw = logits(0)
    assert np.all(np.isfinite(quantities(raw)))
    jacobian = np.asarray(jax.jacobian(quantities)(raw))
    assert np.all(np.isfinite(jacobian))
    # The gradient of what is forbidden is 0, and so is all of it where one action is left.
    assert np.all(jacobian[:, :, 1] == 0)


def test_mask_size_is_the_number_of_choices() -> None:
    assert mask_size(Categorical(logits(0))) == 5
