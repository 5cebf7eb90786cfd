"""Preferences, the model that is fitted to them, and the environment that it rewards."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from klamp.lm.learning.preferences import (
    Compliments,
    Pairs,
    RewardModel,
    fitted,
    preference_loss,
    preferred,
    reward_function,
)
from klamp.lm.learning.supervised import WarmStart
from klamp.lm.networks.decoder import Decoder
from klamp.lm.networks.untrained import random_decoder
from klamp.lm.tasks.builtin import small_decoder

GAME, KEY = Compliments(), jax.random.key(3)
FEATURES = jax.jit(Decoder.features)


@pytest.fixture(scope="module")
def decoder():
    config = dataclasses.replace(small_decoder(9), width=16, mlp_width=16, layers=1)
    return random_decoder(config, jax.random.key(0))


def test_people_like_four_of_eight() -> None:
    rows = jnp.asarray([[1] * k + [3] * (8 - k) for k in range(9)])
    expected = [1 - ((k - 4) / 4) ** 2 for k in range(9)]
    np.testing.assert_allclose(GAME.gold(rows), expected)
    for row, value in zip(rows, expected, strict=True):
        assert GAME.step(jnp.asarray(0), row, jnp.asarray(8)).reward == value


def test_preferences_are_those_of_bradley_and_terry() -> None:
    tokens = jnp.tile(jnp.asarray([[[1, 1]], [[2, 2]]]).reshape(1, 2, 2), (4000, 1, 1))
    gold = jnp.tile(jnp.asarray([0.3, 0.1]), (4000, 1))
    pairs = jax.jit(preferred)(tokens, gold, KEY, sharpness=5.0)
    share, p = float(jnp.mean(pairs.chosen[:, 0] == 1)), 1 / (1 + np.exp(-1.0))
    assert abs(share - p) < 4 * np.sqrt(p * (1 - p) / 4000)
    np.testing.assert_array_equal(pairs.chosen + pairs.rejected, 3)


def test_the_loss_is_its_equation(decoder) -> None:
    head, one = jnp.linspace(-1, 1, 16), jnp.ones(())
    model = RewardModel(decoder, head, one, 2 * one, one)
    tokens = jax.random.randint(KEY, (2, 5, 9), 1, 9)
    score = ((FEATURES(decoder, tokens.reshape(10, 9)) @ head).mean(axis=1) - 1) / 2
    chosen, rejected = score[:5], score[5:]
    expected = np.mean(np.log(1 + np.exp(rejected - chosen)))
    found = jax.jit(preference_loss)(model, Pairs(tokens[0], tokens[1]))
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_what_ends_early_is_as_bad_as_the_worst(decoder) -> None:
    one = jnp.ones(())
    model = RewardModel(decoder, jnp.linspace(-1, 1, 16), one, 2 * one, -3 * one)
    tokens = jax.random.randint(KEY, (5, 9), 1, 9)
    ended = tokens.at[:3, 4:].set(0)
    found, whole = model(ended), model(tokens)
    np.testing.assert_array_equal(found[:3], -2)
    np.testing.assert_array_equal(found[3:], whole[3:])


@pytest.mark.slow
def test_what_was_preferred_is_learnt_and_rewards_the_policy(decoder) -> None:
    def sequences(key, count):
        return jax.random.randint(key, (count, 2, 9), 1, 8)

    tokens = sequences(KEY, 512)
    pairs = preferred(tokens, GAME.gold(tokens[:, :, 1:]), KEY, sharpness=1e3)
    start = WarmStart(steps=60, batch=64, learning_rate=1e-2)
    model, losses = fitted(decoder, pairs, start, KEY)
    np.testing.assert_allclose(losses[0], np.log(2), rtol=1e-5)
    new = sequences(jax.random.key(9), 256)
    gold, score = GAME.gold(new[:, :, 1:]), model(new.reshape(512, 9)).reshape(256, 2)
    apart = gold[:, 0] != gold[:, 1]
    right = (gold[:, 0] > gold[:, 1]) == (score[:, 0] > score[:, 1])
    assert float(jnp.mean(right[apart])) > 0.8
    both = model(jnp.concatenate(pairs))
    np.testing.assert_allclose([both.mean(), both.std()], [0, 1], atol=1e-4)


def test_the_reward_function_says_what_the_model_says(decoder) -> None:
    model = RewardModel(
        decoder, jnp.linspace(-1, 1, 16), jnp.zeros(()), jnp.ones(()), jnp.zeros(())
    )
    learned = reward_function(model, GAME)
    assert learned.__name__ == "learned"
    ids = [[1, 2, 3, 4, 5, 6, 7, 1], [2, 0]]
    whole = jnp.asarray([[8, *ids[0]], [8, 2, 0, 0, 0, 0, 0, 0, 0]])
    np.testing.assert_allclose(
        learned(completion_ids=ids), jax.jit(RewardModel.__call__)(model, whole), rtol=1e-5
    )
