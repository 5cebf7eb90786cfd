"""A tiny language model, and completions of it made by hand."""

from functools import cache
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from klamp.lm.config.settings import Settings
from klamp.lm.networks.decoder import Decoder, DecoderConfig
from klamp.lm.networks.model import language_model
from klamp.lm.networks.untrained import random_decoder
from klamp.lm.tokens.sequences import Completions, Record, completions_of
from klamp.networks import Model

VOCABULARY, PROMPT, ACTIONS = 8, 3, 2
SETTINGS = Settings(prompts=4, generations=2, critic_epochs=2, critic_minibatch_size=4)


@cache
def tiny_decoder() -> Decoder:
    """One layer of width 8; its first policy is far from uniform."""
    config = DecoderConfig(VOCABULARY, 8, 1, 2, 1, 4, 16, context=16)
    decoder = random_decoder(config, jax.random.key(0))
    return eqx.tree_at(lambda of: of.own_head, decoder, replace_fn=lambda head: 30 * head)


@cache
def tiny_model() -> tuple[jax.Array, Model]:
    """All of the decoder is trained, its head included."""
    parts = {"temperature": 0.7, "value_hidden": 8, "key": jax.random.key(1)}
    return language_model(tiny_decoder(), eqx.is_inexact_array, **parts)


@cache
def frozen_head_model() -> tuple[jax.Array, Model]:
    """The blocks alone are trained; embedding and head are not."""
    decoder = tiny_decoder()
    nothing = jax.tree.map(lambda _: False, decoder)
    blocks = eqx.tree_at(lambda of: of.blocks, nothing, True)
    parts = {"temperature": 0.7, "value_hidden": 8, "key": jax.random.key(1)}
    return language_model(decoder, blocks, **parts)


def completions(
    sequences: int = 8, actions: int = ACTIONS, seed: int = 0, **more: Any
) -> Completions:
    """Prompts of random tokens, each with so many sampled ones; odd rows sampled one less."""
    generator = np.random.default_rng(seed)
    tokens = generator.integers(0, VOCABULARY, (sequences, PROMPT + actions))
    turn = np.zeros(tokens.shape, int)
    turn[:, PROMPT:] = 1
    valid = np.ones(tokens.shape, bool)
    if actions > 1:
        valid[1::2, -1] = False
    reward = np.zeros(tokens.shape, np.float32)
    reward[:, -1] = reward[:, -2] = generator.normal(size=sequences)
    record = Record(*(jnp.asarray(part) for part in (tokens, valid, turn * valid, reward)))
    ends = jnp.asarray(generator.random(sequences) < 0.5)
    return completions_of(record, ends, ~ends, jnp.arange(sequences), actions)._replace(**more)
