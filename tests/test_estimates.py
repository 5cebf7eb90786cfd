"""Every choice of advantage and value target, by hand, with each kind of episode end."""

import jax.numpy as jnp
import numpy as np
import pytest

from klamp.mathematics.advantages import estimate, gae

# One environment, five steps: a termination after the second, a truncation after the fourth.
REWARD = np.asarray([1.0, 2.0, 3.0, 4.0, 5.0], np.float32)
VALUE = np.asarray([10.0, 20.0, 30.0, 40.0, 50.0], np.float32)
NEXT = np.asarray([20.0, np.nan, 40.0, 100.0, 200.0], np.float32)
TERMINATED = np.asarray([0, 1, 0, 0, 0], bool)
TRUNCATED = np.asarray([0, 0, 0, 1, 0], bool)
SEEN = np.asarray([2.0, 2.0, 5.0, 4.0, 5.0])
"""R_t at γ = ½ of what the rollout saw."""
BOOTSTRAPPED = np.asarray([2.0, 2.0, 3 + (4 + 50) / 2, 4 + 50.0, 5 + 100.0])
"""R_t with V where the rollout or a time limit cut the episode."""


def estimates(**choices):
    arrays = (jnp.asarray(x) for x in (REWARD, VALUE, NEXT, TERMINATED, TRUNCATED))
    return estimate(*arrays, discount=0.5, trace_decay=0.8, **choices)


def generalised(trace_decay: float):
    arrays = (jnp.asarray(x) for x in (REWARD, VALUE, NEXT, TERMINATED, TRUNCATED))
    return gae(*arrays, discount=0.5, trace_decay=trace_decay)


def test_gae_with_the_lambda_return_is_the_default() -> None:
    expected = generalised(0.8)
    advantage, target = estimates()
    np.testing.assert_array_equal(advantage, expected)
    np.testing.assert_allclose(target, expected + VALUE)


def test_monte_carlo() -> None:
    advantage, target = estimates(estimator="monte-carlo", target="monte-carlo")
    np.testing.assert_allclose(advantage, BOOTSTRAPPED - VALUE)
    np.testing.assert_allclose(target, BOOTSTRAPPED)
    # A^GAE at λ = 1.
    whole = generalised(1.0)
    np.testing.assert_allclose(advantage, whole, rtol=1e-6)


def test_the_return_knows_no_critic() -> None:
    advantage, target = estimates(estimator="return", target="monte-carlo")
    np.testing.assert_allclose(advantage, SEEN)
    np.testing.assert_allclose(target, SEEN)


def test_the_standardised_return_is_the_listing_of_ppo_in_full_batches() -> None:
    advantage, target = estimates(estimator="standardized-return", target="monte-carlo")
    standard = (SEEN - SEEN.mean()) / SEEN.std()
    np.testing.assert_allclose(target, standard, rtol=1e-5)
    np.testing.assert_allclose(advantage, standard - VALUE, rtol=1e-5)


def test_it_is_standardised_over_the_rows_with_weight() -> None:
    weight = jnp.asarray([1.0, 1.0, 0.0, 1.0, 0.0])
    _, target = estimates(estimator="standardized-return", target="monte-carlo", weight=weight)
    kept = SEEN[[0, 1, 3]]
    standard = (kept - kept.mean()) / kept.std()
    np.testing.assert_allclose(target[jnp.asarray([0, 1, 3])], standard, rtol=1e-5)


@pytest.mark.parametrize("estimator", ["gae", "monte-carlo", "return"])
def test_the_target_is_chosen_apart(estimator: str) -> None:
    np.testing.assert_allclose(estimates(estimator=estimator)[1], generalised(0.8) + VALUE)
    monte_carlo = SEEN if estimator == "return" else BOOTSTRAPPED
    target = estimates(estimator=estimator, target="monte-carlo")[1]
    np.testing.assert_allclose(target, monte_carlo)
