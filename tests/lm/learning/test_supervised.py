"""Training on demonstrations."""

import dataclasses
from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from klamp.errors import ConfigError
from klamp.lm.learning.supervised import WarmStart, cross_entropy_loss, warm_started
from klamp.lm.networks.decoder import Decoder
from klamp.lm.networks.untrained import random_decoder
from klamp.lm.tasks.builtin import small_decoder
from klamp.lm.tasks.digits import VOCABULARY, Sort
from klamp.lm.tasks.task import demonstrate

SORT = Sort(digits=3)


def demonstrations(numbers, key):
    return demonstrate(SORT, key, numbers, key)


@pytest.fixture(scope="module")
def decoder():
    config = dataclasses.replace(small_decoder(len(VOCABULARY)), width=16, mlp_width=16, layers=1)
    return random_decoder(config, jax.random.key(0))


def test_the_loss_is_minus_the_mean_log_probability_of_the_answers(decoder) -> None:
    shown = demonstrations(jnp.arange(5), jax.random.key(3))
    logits = jax.jit(Decoder.logits)(decoder, shown.tokens, shown.valid)
    log_probs = np.asarray(jax.nn.log_softmax(logits))
    expected = [
        log_probs[s, place - 1, shown.tokens[s, place]] for s in range(5) for place in range(4, 7)
    ]
    loss = jax.jit(cross_entropy_loss)
    np.testing.assert_allclose(loss(decoder, shown), -np.mean(expected), rtol=1e-5)
    # What stands under weight 0 is not read.
    masked = shown._replace(
        weight=shown.weight.at[:, 1:].set(0), action=shown.action.at[:, 1:].set(-7)
    )
    np.testing.assert_allclose(loss(decoder, masked), -np.mean(expected[::3]), rtol=1e-5)


def test_the_loss_falls_and_follows_from_the_key_alone(decoder) -> None:
    start = WarmStart(steps=25, batch=32, learning_rate=1e-2)
    train = partial(warm_started, decoder, demonstrations, start)
    trained, losses = train(jax.random.key(1))
    assert float(losses[0]) > 2.3
    assert float(losses[-5:].mean()) < 2.2
    again, _ = train(jax.random.key(1))
    assert eqx.tree_equal(trained, again)
    other, _ = train(jax.random.key(2))
    assert not eqx.tree_equal(trained, other)


def test_settings_out_of_range_are_named() -> None:
    with pytest.raises(ConfigError, match="`steps` of WarmStart is 0"):
        WarmStart(steps=0)
