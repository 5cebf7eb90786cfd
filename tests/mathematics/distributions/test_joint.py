"""Hybrid actions: sums over independent parts of different kinds."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from distribution_checks import (
    check_entropy_gradient,
    check_fisher,
    check_fisher_is_the_scores_covariance,
    check_monte_carlo,
)

from klamp import Categorical, DiagonalGaussian, kl_divergence
from klamp.mathematics.distributions import Bernoulli, Joint, MultiCategorical
from klamp.mathematics.distributions.joint import mask_size


def build(out: jax.Array) -> Joint:
    inner = Joint((Bernoulli(out[..., 3:5]), MultiCategorical(out[..., 5:10], (2, 3))))
    return Joint((Categorical(out[..., :3]), inner, DiagonalGaussian(out[..., 10:12], 0.3)))


def parameters(seed: int) -> jax.Array:
    return jax.random.normal(jax.random.key(seed), (3, 12))


@pytest.mark.compiles
def test_definitions() -> None:
    check_monte_carlo(build(parameters(0)), build(parameters(1)))
    check_fisher(build, 12)
    check_fisher_is_the_scores_covariance(build, 12)
    check_entropy_gradient(build, 12)


def test_divergence_is_the_sum_over_the_parts() -> None:
    p, q = build(parameters(0)), build(parameters(1))
    parts = [kl_divergence(p=a, q=b) for a, b in zip(p.parts, q.parts, strict=True)]
    np.testing.assert_allclose(kl_divergence(p=p, q=q), np.sum(parts, axis=0), rtol=1e-6)


def test_parts_draw_independent_noise() -> None:
    out = jnp.zeros((1, 2))
    twins = Joint((DiagonalGaussian(out, 0.0), DiagonalGaussian(out, 0.0)))
    first, second = twins.sample_from(twins.noise(jax.random.key(0), (5000,)))
    correlation = np.corrcoef(np.asarray(first).ravel(), np.asarray(second).ravel())[0, 1]
    assert abs(correlation) < 0.05


def test_the_mask_covers_the_parts_that_choose() -> None:
    p = build(parameters(0))
    assert mask_size(p) == 8
    mask = jnp.asarray([[True, False, False, True, False, False, False, True]] * 3)
    choice, (_, several), _ = p.masked(mask).sample(jax.random.key(0))
    np.testing.assert_array_equal(choice, [0, 0, 0])
    np.testing.assert_array_equal(several, [[0, 2]] * 3)


def test_a_scheduled_scale_reaches_every_gaussian() -> None:
    p = build(parameters(0)).with_log_std(jnp.full(3, -1.5))
    np.testing.assert_array_equal(p.parts[2].log_std, np.full((3, 2), -1.5))
    assert p.parts[0] is not None
