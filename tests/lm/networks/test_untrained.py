"""A decoder that knows nothing: nearly uniform, and as large as it says."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from klamp.lm.networks.decoder import DecoderConfig
from klamp.lm.networks.untrained import random_decoder

CONFIG = DecoderConfig(32, 64, 4, 4, 2, 16, 128, context=16, mlp_bias=True, tied_head=False)


def test_the_first_policy_is_nearly_uniform() -> None:
    decoder = random_decoder(CONFIG, jax.random.key(0))
    tokens = jax.random.randint(jax.random.key(1), (8, 12), 0, CONFIG.vocabulary)
    logits = jax.jit(type(decoder).logits)(decoder, tokens)
    chance = jax.nn.softmax(logits, axis=-1)
    entropy = -jnp.sum(chance * jnp.log(chance), axis=-1)
    assert float(entropy.min()) > 0.97 * np.log(CONFIG.vocabulary)


def test_weights_have_the_variance_that_is_told() -> None:
    blocks = random_decoder(CONFIG, jax.random.key(0)).blocks
    for name, inner, share in (("gate", 64, 1), ("output", 64, 8), ("down", 128, 8)):
        weight = getattr(blocks, name).weight
        assert float(jnp.var(weight)) == pytest.approx(1 / (inner * share), rel=0.05)
        assert float(jnp.abs(jnp.mean(weight))) < 4 / np.sqrt(inner * share * weight.size)
    assert not np.any(blocks.gate.bias)
    assert np.all(blocks.mlp_norm == 1)


def test_another_key_is_another_decoder_and_a_tied_head_is_none() -> None:
    one, other = (random_decoder(CONFIG, jax.random.key(seed)) for seed in (0, 1))
    assert float(jnp.abs(one.embedding - other.embedding).max()) > 0.01
    tied = random_decoder(replace(CONFIG, tied_head=True), jax.random.key(0))
    assert tied.own_head is None
    assert tied.head is tied.embedding
