"""The tanh-squashed Gaussian: exact log-probability, KL and Fisher of the base."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from distribution_checks import (
    check_entropy_gradient,
    check_fisher,
    check_fisher_is_the_scores_covariance,
    check_monte_carlo,
    precision,
)

from klamp import DiagonalGaussian, kl_divergence
from klamp.mathematics.distributions import SquashedGaussian

LOW, HIGH = (-2.0, 0.0), (2.0, 0.5)


def build(out: jax.Array) -> SquashedGaussian:
    return SquashedGaussian(DiagonalGaussian(out[..., :2], 0.5 * out[..., 2:]), LOW, HIGH)


def parameters(seed: int) -> jax.Array:
    return jax.random.normal(jax.random.key(seed), (3, 4))


def test_definitions() -> None:
    check_monte_carlo(build(parameters(0)), build(parameters(1)))
    check_fisher(build, 4)
    check_fisher_is_the_scores_covariance(build, 4)
    check_entropy_gradient(build, 4)


def test_divergence_is_that_of_the_gaussian() -> None:
    p, q = build(parameters(0)), build(parameters(1))
    np.testing.assert_array_equal(kl_divergence(p=p, q=q), kl_divergence(p=p.base, q=q.base))


def test_log_probability_is_the_density_of_the_squashed_action() -> None:
    """Against the change of variables written out in float64, and integrated to 1."""
    with precision("float64"):
        p = SquashedGaussian(DiagonalGaussian(jnp.asarray([0.3]), jnp.asarray(-0.2)), -2, 2)
        action = np.linspace(-2, 2, 200_003)[1:-1]
        u = jnp.asarray(np.arctanh(action / 2))[:, None]
        density = np.exp(np.asarray(p.log_prob(u)))
        assert abs(np.trapezoid(density, action) - 1) < 1e-6
        np.testing.assert_allclose(np.asarray(p.squash(u))[:, 0], action, atol=1e-12)


def test_log_probability_is_finite_for_every_squashed_float32() -> None:
    """A grid of [−1, 1], the neighbours of ±1, and far beyond where tanh rounds to 1."""
    ends = np.float32(1) - np.float32(2.0) ** -np.arange(1, 25, dtype=np.float32)
    grid = np.concatenate([np.linspace(-1, 1, 100_001, dtype=np.float32)[1:-1], ends, -ends])
    u = np.concatenate([np.arctanh(grid), np.linspace(-1e4, 1e4, 10_001, dtype=np.float32)])
    p = SquashedGaussian(DiagonalGaussian(jnp.zeros(1), jnp.zeros(1)), -1, 1)
    log_prob, slope = jax.vmap(jax.value_and_grad(lambda x: p.log_prob(x[None])))(jnp.asarray(u))
    assert np.all(np.isfinite(log_prob))
    assert np.all(np.isfinite(slope))


@pytest.mark.parametrize(
    ("log_std", "tolerance"), [(-20.0, 1e-5), (-3.0, 1e-5), (0.0, 1e-5), (0.69, 1e-5), (1.38, 1e-3)]
)
def test_entropy_by_quadrature(log_std: float, tolerance: float) -> None:
    """Against a quadrature with ten thousand points, to what the docstring promises."""
    z = np.linspace(-9, 9, 10_001)
    share = np.exp(-0.5 * z**2) / np.exp(-0.5 * z**2).sum()
    for mean in (-3.0, 0.0, 0.4):
        u = mean + np.exp(log_std) * z
        slope = 2 * (np.log(2) - u - np.logaddexp(0, -2 * u))
        exact = log_std + 0.5 * np.log(2 * np.pi * np.e) + (share * slope).sum()
        p = SquashedGaussian(DiagonalGaussian(jnp.asarray([mean]), log_std), -1, 1)
        assert abs(float(p.entropy()) - exact) < tolerance + 1e-6 * abs(log_std)


def test_actions_stay_within_the_bounds() -> None:
    p = build(100 * parameters(0))
    drawn = np.asarray(p.squash(p.sample_from(p.noise(jax.random.key(0), (1000,)))))
    assert np.all((drawn >= np.asarray(LOW) - 1e-6) & (drawn <= np.asarray(HIGH) + 1e-6))
