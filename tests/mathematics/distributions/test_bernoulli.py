"""Independent yes-or-no actions."""

import jax
import jax.numpy as jnp
import numpy as np
import scipy.stats
from distribution_checks import (
    check_entropy_gradient,
    check_fisher,
    check_fisher_is_the_scores_covariance,
    check_monte_carlo,
)

from klamp import kl_divergence
from klamp.mathematics.distributions import Bernoulli


def test_definitions() -> None:
    p, q = (Bernoulli(jax.random.normal(jax.random.key(i), (3, 4))) for i in (0, 1))
    check_monte_carlo(p, q)
    check_fisher(Bernoulli, 4)
    check_fisher_is_the_scores_covariance(Bernoulli, 4)
    check_entropy_gradient(Bernoulli, 4)


def test_log_probability_is_scipys() -> None:
    logits = np.linspace(-8, 8, 12, dtype=np.float32).reshape(3, 4)
    action = np.arange(12).reshape(3, 4) % 2
    probability = 1 / (1 + np.exp(-logits.astype(np.float64)))
    expected = scipy.stats.bernoulli.logpmf(action, probability).sum(axis=-1)
    np.testing.assert_allclose(Bernoulli(logits).log_prob(action), expected, rtol=1e-5)


def test_divergence_keeps_its_digits_near_equality_and_far_from_it() -> None:
    logits = np.linspace(-30, 30, 9, dtype=np.float32)[:, None]
    for shift in (1e-3, 20.0):
        p, q = Bernoulli(logits), Bernoulli(logits + np.float32(shift))
        a, b = (1 / (1 + np.exp(-np.asarray(x.logits, np.float64))) for x in (p, q))
        na, nb = (1 / (1 + np.exp(np.asarray(x.logits, np.float64))) for x in (p, q))
        exact = (a * np.log(a / b) + na * np.log(na / nb))[:, 0]
        found = np.asarray(kl_divergence(p=p, q=q))
        assert np.all(found >= 0)
        np.testing.assert_allclose(found, exact, rtol=2e-2 if shift < 1 else 1e-5, atol=1e-14)


def test_extreme_logits_stay_finite() -> None:
    p = Bernoulli(jnp.asarray([[-200.0, 200.0]]))
    assert np.isfinite(p.log_prob(jnp.asarray([[1, 0]]))).all()
    assert np.isfinite(p.entropy()).all()
    np.testing.assert_array_equal(p.mode(), [[0, 1]])
