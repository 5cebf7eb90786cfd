"""What holds of every algorithm: it learns, it is pure, and rows of weight 0 do not exist."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from probe import SETTINGS, compiled, make_model, sample

from klamp.algorithms import implementation
from klamp.config import algorithms as config
from klamp.config.run import RunConfig
from klamp.runtime.seeding import Purpose, key_words
from klamp.training.learning import make_learn
from klamp.types import Rollout

ALGORITHMS = {
    "reinforce": config.REINFORCE(learning_rate=0.05),
    "a2c": config.A2C(learning_rate=0.05),
    "npg": config.NPG(max_kl=0.1, damping=0.01),
    "trpo": config.TRPO(max_kl=0.1, damping=0.01),
    "ppo": config.PPO(epochs=4, minibatch_size=16, learning_rate=0.02),
    "ppo-kl": config.PPOPenalty(epochs=4, minibatch_size=16, learning_rate=0.02),
}

every = pytest.mark.parametrize("algorithm", ALGORITHMS.values(), ids=list(ALGORITHMS))


def test_the_table_is_complete() -> None:
    assert set(ALGORITHMS) == set(config.ALGORITHMS)


@every
def test_it_learns_which_action_is_right_and_what_the_state_is_worth(algorithm: Any) -> None:
    theta, model = make_model()
    state = implementation(algorithm).init(algorithm, model, theta)
    step = compiled(algorithm, model)
    first = sample(model, theta, 0)
    for index in range(25):
        batch, _ = sample(model, theta, index)
        update = step(theta, state, batch, seed=index, progress=index / 25)
        again = step(theta, state, batch, seed=index, progress=index / 25)
        np.testing.assert_array_equal(update.theta, again.theta)
        theta, state = update.theta, update.state
    last = sample(model, theta, 1000)
    assert first[1] < 0.7
    assert last[1] > 0.8

    def error(batch: Any) -> float:
        return float(np.square(batch.old_value - batch.value_target).mean())

    assert error(last[0]) < 0.5 * error(first[0])


def rollout(garbage: float) -> Rollout:
    """Six steps of two environments; one row follows an episode's end and is no transition."""
    rng = np.random.default_rng(3)
    observation, after = (rng.normal(size=(6, 2, 3)).astype(np.float32) for _ in range(2))
    action = rng.integers(0, 2, size=(6, 2))
    reward = rng.normal(size=(6, 2)).astype(np.float32)
    ended, weight = np.zeros((6, 2), bool), np.ones((6, 2), np.float32)
    ended[2, 1], weight[3, 1] = True, 0
    for real in (observation, after, reward):
        real[3, 1] = garbage
    return Rollout(observation, after, action, reward, ended, np.zeros_like(ended), weight)


@every
def test_garbage_under_weight_0_changes_nothing(algorithm: Any) -> None:
    theta, model = make_model()
    state = implementation(algorithm).init(algorithm, model, theta)
    learn = make_learn(model, algorithm, RunConfig("Some-v0", algorithm, SETTINGS).settings)
    results = [
        learn(
            theta,
            state,
            rollout(garbage),
            None,
            jnp.asarray(1.0, jnp.float32),
            key_words(0, Purpose.SHUFFLE),
            jnp.asarray(0.0, jnp.float32),
        )
        for garbage in (0.0, np.nan, np.inf, -1e30)
    ]
    clean = jax.tree.leaves(results[0])
    assert all(np.isfinite(leaf).all() for leaf in clean)
    for dirty in results[1:]:
        for one, other in zip(clean, jax.tree.leaves(dirty), strict=True):
            np.testing.assert_array_equal(one, other)
    assert np.any(np.asarray(results[0][0]) != np.asarray(theta))
