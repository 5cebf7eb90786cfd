"""Beta actions within bounds."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from distribution_checks import (
    check_entropy_gradient,
    check_fisher,
    check_fisher_is_the_scores_covariance,
    check_monte_carlo,
)

from klamp import kl_divergence
from klamp.distributions import ScaledBeta

LOW, HIGH = (-2.0, 0.0), (2.0, 0.5)


def build(out: jax.Array) -> ScaledBeta:
    alpha, beta = (1 + jax.nn.softplus(2 * part) for part in (out[..., :2], out[..., 2:]))
    return ScaledBeta(alpha, beta, LOW, HIGH)


def parameters(seed: int) -> jax.Array:
    return jax.random.normal(jax.random.key(seed), (3, 4))


def test_definitions() -> None:
    check_monte_carlo(build(parameters(0)), build(parameters(1)), samples=20_000)
    check_fisher(build, 4)
    check_fisher_is_the_scores_covariance(build, 4)
    check_entropy_gradient(build, 4)


def test_log_probability_and_entropy_are_scipys() -> None:
    p = build(parameters(0))
    y = p.sample(jax.random.key(0))
    action = np.asarray(p.squash(y), np.float64)
    width = np.subtract(HIGH, LOW)
    theirs = scipy.stats.beta(np.asarray(p.alpha), np.asarray(p.beta), loc=LOW, scale=width)
    np.testing.assert_allclose(p.log_prob(y), theirs.logpdf(action).sum(axis=-1), rtol=2e-4)
    np.testing.assert_allclose(p.entropy(), theirs.entropy().sum(axis=-1), rtol=1e-4, atol=1e-5)


def test_samples_follow_the_distribution() -> None:
    """Kolmogorov and Smirnov's test of each dimension."""
    p = build(parameters(2))
    drawn = np.asarray(p.squash(p.sample_from(p.noise(jax.random.key(5), (5_000,)))), np.float64)
    for row in range(3):
        for i in range(2):
            theirs = scipy.stats.beta(
                float(p.alpha[row, i]), float(p.beta[row, i]), LOW[i], HIGH[i] - LOW[i]
            )
            assert scipy.stats.kstest(drawn[:, row, i], theirs.cdf).pvalue > 1e-3


def test_mode_is_the_peak() -> None:
    p = ScaledBeta(jnp.asarray([3.0, 1.0]), jnp.asarray([2.0, 1.0]), (0.0, 0.0), (1.0, 1.0))
    np.testing.assert_allclose(p.squash(p.mode()), [2 / 3, 0.5], rtol=1e-6)


@pytest.mark.parametrize("size", [1.0, 5.0, 100.0])
def test_near_equal_divergences_are_not_lost(size: float) -> None:
    """KL ≈ ½ΔᵀFΔ for a small change, up to a rounding far below any trust region."""
    p = ScaledBeta(jnp.asarray([size]), jnp.asarray([size]), 0.0, 1.0)
    delta = ScaledBeta(jnp.asarray([0.1 * size]), jnp.asarray([-0.1 * size]), 0.0, 1.0)
    q = ScaledBeta(p.alpha + 0.01 * delta.alpha, p.beta + 0.01 * delta.beta, 0.0, 1.0)
    metric = p.fisher_metric(delta)
    expected = 0.5e-4 * (metric.alpha @ delta.alpha + metric.beta @ delta.beta)
    assert abs(float(kl_divergence(p=p, q=q)) - float(expected)) < 4e-7 * size


def test_extreme_actions_stay_finite() -> None:
    p = ScaledBeta(jnp.asarray([1.0, 50.0]), jnp.asarray([1.0, 1.5]), LOW, HIGH)
    log_prob = p.log_prob(jnp.asarray([[-500.0, 500.0], [80.0, -80.0]]))
    assert np.all(np.isfinite(log_prob))
