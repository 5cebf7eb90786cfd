"""Beta actions within bounds."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
import scipy.stats
from distribution_checks import (
    check_entropy_gradient,
    check_fisher,
    check_fisher_is_the_scores_covariance,
    check_monte_carlo,
    precision,
)

from klamp import kl_divergence
from klamp.mathematics.distributions import ScaledBeta

LOW, HIGH = (-2.0, 0.0), (2.0, 0.5)


def build(out: jax.Array) -> ScaledBeta:
    alpha, beta = (1 + jax.nn.softplus(2 * part) for part in (out[..., :2], out[..., 2:]))
    return ScaledBeta(alpha, beta, LOW, HIGH)


def parameters(seed: int) -> jax.Array:
    return jax.random.normal(jax.random.key(seed), (3, 4))


@pytest.mark.compiles
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


NODES, SHARES = np.polynomial.legendre.leggauss(40)


MOVES = [
    "of both",
    *(pytest.param(m, marks=pytest.mark.compiles) for m in ("of one", "of the concentration")),
]


def exact_kl(p: tuple[np.ndarray, ...], q: tuple[np.ndarray, ...]) -> np.ndarray:
    """∫(1 − τ)·dᵀ∇² log B(p + τd)·d dτ in float64: KL(p‖q) as what log B exceeds its tangent by."""
    (a, b), (da, db) = p, (y - x for x, y in zip(p, q, strict=True))
    total = np.zeros_like(a)
    for node, share in zip((NODES + 1) / 2, SHARES / 2, strict=True):
        at = [scipy.special.polygamma(1, x) for x in (a + node * da, b + node * db)]
        both = scipy.special.polygamma(1, a + b + node * (da + db))
        total += share * (1 - node) * (at[0] * da**2 + at[1] * db**2 - both * (da + db) ** 2)
    return total


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 3e-5), ("float64", 2e-9)])
@pytest.mark.parametrize("direction", MOVES)
def test_divergences_keep_their_digits(dtype: str, tolerance: float, direction: str) -> None:
    """Of concentrations up to 10,000 and changes down to 1e-5 of them, KL from 1e-10 to 1e3."""
    rng = np.random.default_rng(0)
    sizes = 1 + 10 ** rng.uniform(-2, 4, (2, 20_000))
    relative = 10 ** rng.uniform(-5, -0.3, 20_000)
    change = {
        "of both": relative * rng.uniform(-1, 1, (2, 20_000)),
        "of one": relative * np.asarray([[0.0], [1.0]]),
        "of the concentration": relative * np.ones((2, 1)),
    }[direction]
    with precision(dtype):
        p, q = (tuple(x.astype(dtype) for x in each) for each in (sizes, sizes * (1 + change)))

        @jax.jit
        def divergence(p: tuple[jax.Array, ...], q: tuple[jax.Array, ...]) -> jax.Array:
            one, other = (ScaledBeta(a[:, None], b[:, None], 0.0, 1.0) for a, b in (p, q))
            return kl_divergence(p=one, q=other)

        found = np.asarray(divergence(p, q), np.float64)
    wide = [tuple(x.astype(np.float64) for x in each) for each in (p, q)]
    expected = exact_kl(*wide)
    kept = expected > 1e-12
    assert kept.mean() > 0.9
    np.testing.assert_allclose(found[kept], expected[kept], rtol=tolerance)
    assert found.min() >= -1e-12


def test_extreme_actions_stay_finite() -> None:
    p = ScaledBeta(jnp.asarray([1.0, 50.0]), jnp.asarray([1.0, 1.5]), LOW, HIGH)
    log_prob = p.log_prob(jnp.asarray([[-500.0, 500.0], [80.0, -80.0]]))
    assert np.all(np.isfinite(log_prob))
