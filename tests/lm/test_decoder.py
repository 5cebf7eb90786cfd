"""The decoder: causal, blind to padding, and the same with a cache as without."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from klamp.lm.decoder import Decoder, DecoderConfig, random_decoder

CONFIG = DecoderConfig(
    vocabulary=16,
    width=16,
    layers=2,
    heads=4,
    key_value_heads=2,
    head_width=8,
    mlp_width=24,
    context=32,
    attention_bias=True,
    query_key_norm=True,
    sliding_window=5,
)
PADDING = np.array([0, 3, 7])
VALID = jnp.asarray(np.arange(10) >= PADDING[:, None])


@pytest.fixture(scope="module")
def decoder() -> Decoder:
    return random_decoder(CONFIG, jax.random.key(0))


@pytest.fixture(scope="module")
def tokens() -> jax.Array:
    return jax.random.randint(jax.random.key(1), (3, 10), 0, CONFIG.vocabulary)


def test_padding_is_neither_seen_nor_counted(decoder: Decoder, tokens: jax.Array) -> None:
    padded = decoder.logits(tokens, VALID)
    other = decoder.logits(jnp.where(VALID, tokens, -(10**6)), VALID)
    np.testing.assert_array_equal(padded, other)
    for row, start in enumerate(PADDING):
        alone = decoder.logits(tokens[row : row + 1, start:])
        np.testing.assert_allclose(padded[row, start:], alone[0], atol=1e-6)


def test_the_future_is_not_seen(decoder: Decoder, tokens: jax.Array) -> None:
    changed = tokens.at[:, 6:].set((tokens[:, 6:] + 1) % CONFIG.vocabulary)
    before, after = decoder.logits(tokens), decoder.logits(changed)
    np.testing.assert_allclose(before[:, :6], after[:, :6], atol=1e-6)
    assert float(jnp.abs(before[:, 6:] - after[:, 6:]).max()) > 1e-3


def test_a_cache_changes_nothing(decoder: Decoder, tokens: jax.Array) -> None:
    """Pieces of 4, 1, … tokens; a gap in the middle of a row is as if it were not there."""
    valid = VALID.at[:, 6].set(jnp.asarray([True, False, True]))
    whole = decoder.features(tokens, valid)
    cache, found, advance = decoder.empty_cache(3, 12), [], jax.jit(Decoder.advance)
    for start, end in [(0, 4), (4, 8), (8, 9), (9, 10)]:
        features, cache = advance(decoder, cache, tokens[:, start:end], valid[:, start:end])
        found.append(features)
    assert int(cache.filled) == 10
    difference = jnp.where(valid[..., None], jnp.concatenate(found, axis=1) - whole, 0)
    assert float(jnp.abs(difference).max()) < 1e-5
    gapless = decoder.features(jnp.delete(tokens[1:2, 3:], 3, axis=1))
    np.testing.assert_allclose(whole[1, jnp.array([3, 4, 5, 7, 8, 9])], gapless[0], atol=1e-5)


def test_low_precision_ends_in_float32(decoder: Decoder, tokens: jax.Array) -> None:
    half: Decoder = jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), decoder)
    logits = half.logits(tokens, VALID)
    assert logits.dtype == jnp.float32
    near = jnp.abs(jnp.where(VALID[..., None], logits - decoder.logits(tokens, VALID), 0))
    assert float(near.max()) < 0.1
