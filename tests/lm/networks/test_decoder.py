"""The decoder: causal, blind to padding, and the same with a cache as without."""

from collections.abc import Callable
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from lm.reference_decoder import reference_logits, stirred

from klamp.lm.networks.decoder import FEW_LAYERS, Decoder, DecoderConfig
from klamp.lm.networks.model_config import RopeScaling, form_of
from klamp.lm.networks.pretrained import tensors_of
from klamp.lm.networks.untrained import random_decoder

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
    output_bias=True,
    sliding_window=5,
    family="qwen3",
)
PLAIN = replace(CONFIG, attention_bias=False, output_bias=False, query_key_norm=False)
SCALED = RopeScaling(4.0, 1.0, 4.0, 8)
FAMILIES = {
    "llama": replace(
        PLAIN,
        family="llama",
        attention_bias=True,
        output_bias=True,
        mlp_bias=True,
        sliding_window=None,
        rope_scaling=SCALED,
        rope_theta=50.0,
    ),
    "qwen2": replace(PLAIN, family="qwen2", attention_bias=True, tied_head=True),
    "qwen3": CONFIG,
    "qwen3, by a loop over layers": replace(CONFIG, layers=FEW_LAYERS + 1),
    "mistral": replace(PLAIN, family="mistral", norm_epsilon=1e-2, key_value_heads=1),
}
PADDING = np.array([0, 3, 7])
LOGITS, FEATURES = jax.jit(Decoder.logits), jax.jit(Decoder.features)
VALID = jnp.asarray(np.arange(10) >= PADDING[:, None])


@pytest.fixture(scope="module")
def decoder() -> Decoder:
    return random_decoder(CONFIG, jax.random.key(0))


@pytest.fixture(scope="module")
def tokens() -> jax.Array:
    return jax.random.randint(jax.random.key(1), (3, 10), 0, CONFIG.vocabulary)


@pytest.mark.parametrize("family", FAMILIES)
def test_logits_are_those_of_the_definition(family: str, tokens: jax.Array) -> None:
    decoder = stirred(FAMILIES[family])
    form = form_of(decoder.config, {})
    expected = reference_logits(tensors_of(decoder), form, tokens[0].tolist())
    assert 2 < np.abs(expected).max() < 20
    np.testing.assert_allclose(LOGITS(decoder, tokens[:1], None)[0], expected, atol=2e-5)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("layers", [1, 3, FEW_LAYERS + 1])
def test_features_of_some_columns_are_those_of_all(
    family: str, layers: int, tokens: jax.Array
) -> None:
    """Also twice the same column and one without a token; gradients by every array are equal."""
    decoder = random_decoder(replace(FAMILIES[family], layers=layers), jax.random.key(0))
    columns = jnp.asarray([[9, 2, 5], [4, 4, 3], [0, 8, -1]])
    rows = jnp.arange(3)[:, None]
    pull = jax.random.normal(jax.random.key(2), (3, 3, CONFIG.width))

    def some(decoder: Decoder) -> jax.Array:
        return decoder.features_at(tokens, VALID, columns)

    def same(decoder: Decoder) -> jax.Array:
        return decoder.features(tokens, VALID)[rows, columns]

    def both(read: Callable[[Decoder], jax.Array]) -> tuple[jax.Array, Decoder]:
        found, back = jax.vjp(read, decoder)
        return found, back(pull)[0]

    one, other = jax.jit(both, static_argnums=0)(some), jax.jit(both, static_argnums=0)(same)
    scale = max(float(jnp.abs(leaf).max()) for leaf in jax.tree.leaves(other))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=2e-6 * scale), one, other)


def test_padding_is_neither_seen_nor_counted(decoder: Decoder, tokens: jax.Array) -> None:
    padded = LOGITS(decoder, tokens, VALID)
    other = LOGITS(decoder, jnp.where(VALID, tokens, -(10**6)), VALID)
    np.testing.assert_array_equal(padded, other)
    for row, start in enumerate(PADDING):
        alone = LOGITS(decoder, tokens[row : row + 1, start:], None)
        np.testing.assert_allclose(padded[row, start:], alone[0], atol=1e-6)


def test_the_future_is_not_seen(decoder: Decoder, tokens: jax.Array) -> None:
    changed = tokens.at[:, 6:].set((tokens[:, 6:] + 1) % CONFIG.vocabulary)
    before, after = LOGITS(decoder, tokens, None), LOGITS(decoder, changed, None)
    np.testing.assert_allclose(before[:, :6], after[:, :6], atol=1e-6)
    assert float(jnp.abs(before[:, 6:] - after[:, 6:]).max()) > 1e-3


@pytest.mark.parametrize("layers", [CONFIG.layers, FEW_LAYERS + 1])
def test_a_cache_changes_nothing(layers: int, tokens: jax.Array) -> None:
    """Pieces of 4, 1, … tokens; a gap in the middle of a row is as if it were not there."""
    decoder = random_decoder(replace(CONFIG, layers=layers), jax.random.key(0))
    valid = VALID.at[:, 6].set(jnp.asarray([True, False, True]))
    whole = FEATURES(decoder, tokens, valid)
    cache, found, advance = decoder.empty_cache(3, 12), [], jax.jit(Decoder.advance)
    for start, end in [(0, 4), (4, 8), (8, 9), (9, 10)]:
        features, cache = advance(decoder, cache, tokens[:, start:end], valid[:, start:end])
        found.append(features)
    assert int(cache.filled) == 10
    difference = jnp.where(valid[..., None], jnp.concatenate(found, axis=1) - whole, 0)
    assert float(jnp.abs(difference).max()) < 1e-5
    gapless = FEATURES(decoder, jnp.delete(tokens[1:2, 3:], 3, axis=1), None)
    np.testing.assert_allclose(whole[1, jnp.array([3, 4, 5, 7, 8, 9])], gapless[0], atol=1e-5)


def test_low_precision_ends_in_float32(decoder: Decoder, tokens: jax.Array) -> None:
    half: Decoder = jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), decoder)
    logits = LOGITS(half, tokens, VALID)
    assert logits.dtype == jnp.float32
    near = jnp.abs(jnp.where(VALID[..., None], logits - LOGITS(decoder, tokens, VALID), 0))
    assert float(near.max()) < 0.1
