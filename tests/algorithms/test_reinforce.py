"""REINFORCE: one step on ∇ log π·(R − b), for each baseline b."""

from dataclasses import replace

import numpy as np
import pytest
from probe import compiled, context_of, make_model, one_update, quickly, sample

from klamp.algorithms import critic_fit, reinforce
from klamp.config.algorithms import REINFORCE
from klamp.config.run import RunConfig
from klamp.config.settings import Settings
from klamp.mathematics import adam

NONE = REINFORCE(baseline="none", learning_rate=1e-3, max_gradient_norm=1e6)
MEAN = replace(NONE, baseline="batch-mean")
VALUE = replace(NONE, baseline="value")


def by_hand(model, theta, batch, advantage: np.ndarray) -> np.ndarray:
    """−E[∇ log π·Â] of the probe's actor, by the chain rule in float64, no autodiff."""
    network = model.unravel(theta)
    hidden, out = network.actor.hidden, network.actor.out
    x = np.asarray(batch.inputs.observation, np.float64)
    h = np.tanh(x @ np.asarray(hidden.weight) + np.asarray(hidden.bias))
    logits = h @ np.asarray(out.weight) + np.asarray(out.bias)
    p = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    # ∂ log π(a) / ∂ logits = onehot(a) − p.
    d_logits = (np.eye(2)[np.asarray(batch.action)] - p) * advantage[:, None] / len(x)
    d_hidden = (d_logits @ np.asarray(out.weight).T) * (1 - h**2)
    parts = (x.T @ d_hidden, d_hidden.sum(0), h.T @ d_logits, d_logits.sum(0))
    return -np.concatenate([part.reshape(-1) for part in parts])


@pytest.mark.parametrize("config", [NONE, MEAN, VALUE], ids=lambda config: config.baseline)
def test_the_gradient_is_the_one_computed_by_hand(config: REINFORCE) -> None:
    theta, model = make_model()
    batch, _ = sample(model, theta, 1)
    returns = 5 + 2 * batch.advantage
    batch = batch._replace(advantage=returns)
    state = reinforce.init(config, model, theta)
    update = compiled(config, model)(theta, state, batch)
    weighed = np.asarray(returns, np.float64)
    if config.baseline == "batch-mean":
        weighed = weighed - weighed.mean()
    expected = by_hand(model, theta, batch, weighed)
    end = model.policy_end
    np.testing.assert_allclose(update.state.moments.first[:end], 0.1 * expected, atol=1e-6)
    norm = float(update.details["gradient_norm"])
    assert norm == pytest.approx(np.linalg.norm(expected), rel=1e-4)
    moved = np.asarray(theta - update.theta)[:end]
    np.testing.assert_allclose(np.sign(moved), np.sign(expected))
    assert np.abs(moved).max() <= config.learning_rate * 1.01


def test_the_critic_is_fitted_only_where_it_is_the_baseline() -> None:
    for config in (NONE, MEAN):
        model, theta, _, update = one_update(config)
        end = model.policy_end
        np.testing.assert_array_equal(update.theta[end:], theta[end:])
        assert update.state.critic is None
    model, theta, batch, update = one_update(VALUE)
    before, after = (
        float(np.square(model.value(t, batch.inputs) - batch.value_target).mean())
        for t in (theta, update.theta)
    )
    assert after < before


def test_the_critic_learns_as_it_does_under_trpo() -> None:
    theta, model = make_model()
    batch, _ = sample(model, theta, 1)
    update = compiled(VALUE, model)(theta, reinforce.init(VALUE, model, theta), batch, seed=4)
    moments = adam.init(theta[model.critic_start :])
    fitted, _ = quickly(critic_fit.fit)(context_of(model, seed=4), theta, moments, batch)
    end = model.policy_end
    np.testing.assert_allclose(update.theta[end:], fitted[end:], atol=1e-6)


def test_the_baseline_decides_the_estimator() -> None:
    for config in (NONE, MEAN):
        chosen = RunConfig("Some-v0", config, Settings()).settings
        assert chosen.advantage_estimator == "return"
        assert chosen.advantage_normalization == "off"
    for normalization in ("batch", "minibatch", "off"):
        given = Settings(advantage_normalization=normalization)
        chosen = RunConfig("Some-v0", VALUE, given).settings
        assert chosen.advantage_estimator == chosen.value_target == "monte-carlo"
        assert chosen.advantage_normalization == normalization


def test_the_entropy_bonus_counts() -> None:
    def entropy(config: REINFORCE) -> float:
        model, _, batch, update = one_update(config)
        return float(model.distribution(update.theta, batch.inputs).entropy().mean())

    assert entropy(replace(MEAN, entropy_coefficient=10.0)) > entropy(MEAN)
