"""Decoder-only transformers of the Llama, Qwen2, Qwen3 and Mistral families.

One block serves all four: normalisation by root mean square (arXiv:1910.07467), rotary positions
(arXiv:2104.09864), attention with fewer key and value heads than query heads (arXiv:2305.13245),
and a gated MLP with SiLU (arXiv:2002.05202). What tells the families apart are fields of
``DecoderConfig``. Blocks are stacked along a first axis and run by ``lax.scan``: the time to
compile does not depend on their number, but where they are few they are written one after another.

Axes are named S (sequences), L (tokens), K (tokens appended), T (places of a cache), D (width) and
V (vocabulary).
"""

from dataclasses import replace
from typing import NamedTuple, Protocol

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Shaped

from klamp.lm.networks.model_config import DecoderConfig
from klamp.lm.networks.rotary import Rotation, rotation_at

LINEAR_MAPS = ("query", "key", "value", "output", "gate", "up", "down")
"""The fields of a ``Block`` that are linear maps, in order."""

FEW_LAYERS = 4
"""Up to so many, a loop over layers costs more in copies of its operands than it saves to compile:
a gradient of two layers takes 11.7 ms in one and 7.8 ms without, on one core."""


class LinearMap(Protocol):
    """A linear map of the last axis, or several of them stacked along a first axis."""

    def __call__(self, x: Float[Array, "*B in"], /) -> Float[Array, "*B out"]:
        """One row of outputs for each row of inputs."""
        ...

    def merged(self) -> "Linear":
        """The same map as one matrix."""
        ...


class Linear(eqx.Module):
    """X ↦ xWᵀ + b, with W [out, in] as Hugging Face keeps it."""

    weight: Float[Array, "*layers out in"]
    bias: Float[Array, "*layers out"] | None = None

    def __call__(self, x: Float[Array, "*B in"]) -> Float[Array, "*B out"]:
        """One row of outputs for each row of inputs."""
        y = x @ self.weight.T
        return y if self.bias is None else y + self.bias

    def merged(self) -> "Linear":
        """Itself."""
        return self


class Block(eqx.Module):
    """The arrays of one layer; of all layers, stacked along a first axis, in a ``Decoder``.

    The linear maps are ``Linear``, or ``AdaptedLinear`` where adapters are trained.
    """

    attention_norm: Float[Array, "*layers D"]
    query: LinearMap
    key: LinearMap
    value: LinearMap
    output: LinearMap
    query_norm: Float[Array, "*layers W"] | None
    key_norm: Float[Array, "*layers W"] | None
    mlp_norm: Float[Array, "*layers D"]
    gate: LinearMap
    up: LinearMap
    down: LinearMap

    def queries(
        self, x: Float[Array, "S K D"], rotation: Rotation, config: DecoderConfig
    ) -> Float[Array, "S K H W"]:
        """What each token asks for."""
        x = rms_norm(x, self.attention_norm, config.norm_epsilon)
        query = self.query(x).reshape(*x.shape[:2], -1, config.head_width)
        if self.query_norm is not None:
            query = rms_norm(query, self.query_norm, config.norm_epsilon)
        return rotation.turn(query)

    def keys_and_values(
        self, x: Float[Array, "S K D"], rotation: Rotation, config: DecoderConfig
    ) -> tuple[Float[Array, "S K G W"], Float[Array, "S K G W"]]:
        """What each token is found by, and what it gives."""
        x = rms_norm(x, self.attention_norm, config.norm_epsilon)
        shape = (*x.shape[:2], -1, config.head_width)
        key = self.key(x).reshape(shape)
        if self.key_norm is not None:
            key = rms_norm(key, self.key_norm, config.norm_epsilon)
        return rotation.turn(key), self.value(x).reshape(shape)

    def merged(self) -> "Block":
        """The same with every linear map as one matrix."""
        return replace(self, **{name: getattr(self, name).merged() for name in LINEAR_MAPS})

    def finish(
        self, x: Float[Array, "S K D"], attended: Float[Array, "S K HW"], epsilon: float
    ) -> Float[Array, "S K D"]:
        """The block's result: what was attended to, and the MLP, added to its input."""
        x = x + self.output(attended)
        y = rms_norm(x, self.mlp_norm, epsilon)
        return x + self.down(jax.nn.silu(self.gate(y)) * self.up(y))


class Cache(NamedTuple):
    """Keys and values of the tokens so far. All rows have the same number of places filled."""

    keys: Float[Array, "layers S T G W"]
    values: Float[Array, "layers S T G W"]
    valid: Bool[Array, "S T"]
    """False in places not filled, and in those filled with an invalid token."""
    filled: Int[Array, ""]
    """Places filled."""


class Decoder(eqx.Module):
    """A language model: tokens [S, L] to features [S, L, D], and these times the head to logits.

    Wherever ``valid`` is False (left padding, or a place that a row leaves free) a token is neither
    attended to nor counted in the positions of others; its own features mean nothing. Features are
    in float32 where the arrays have lower precision, logits too.
    """

    config: DecoderConfig = eqx.field(static=True)
    embedding: Float[Array, "V D"]
    blocks: Block
    """Each array with a first axis of layers."""
    norm: Float[Array, " D"]
    own_head: Float[Array, "V D"] | None
    """None where the head is tied."""

    @property
    def head(self) -> Float[Array, "V D"]:
        """The matrix from features to logits: the embedding, or its own."""
        return self.embedding if self.own_head is None else self.own_head

    def logits(
        self, tokens: Int[Array, "S L"], valid: Bool[Array, "S L"] | None = None
    ) -> Float[Array, "S L V"]:
        """Unnormalised log-probabilities of each token's successor."""
        features = self.features(tokens, valid)
        return features @ self.head.T.astype(features.dtype)

    def features(
        self, tokens: Int[Array, "S L"], valid: Bool[Array, "S L"] | None = None
    ) -> Float[Array, "S L D"]:
        """What the head is applied to, after the last normalisation. Without ``valid`` all are."""
        valid = jnp.ones(tokens.shape, bool) if valid is None else jnp.asarray(valid)
        rotation, allowed = self._seen(valid)
        x = self._run(self.blocks, self._embed(tokens, valid), rotation, allowed)
        return self._normed(x)

    def features_at(
        self, tokens: Int[Array, "S L"], valid: Bool[Array, "S L"], columns: Int[Array, "S K"]
    ) -> Float[Array, "S K D"]:
        """The features at each row's own columns: the last of a few layers computes no others."""
        if not self._unrolled:
            return at_columns(self.features(tokens, valid), columns)
        rotation, allowed = self._seen(valid)
        before = jax.tree.map(lambda leaf: leaf[:-1], self.blocks)
        x = self._run(before, self._embed(tokens, valid), rotation, allowed)
        last: Block = jax.tree.map(lambda leaf: leaf[-1], self.blocks)
        key, value = last.keys_and_values(x, rotation, self.config)
        own: Array
        own, rotation, allowed = jax.tree.map(
            lambda leaf: at_columns(leaf, columns), (x, rotation, allowed)
        )
        attended = _attend(last.queries(own, rotation, self.config), key, value, allowed)
        return self._normed(last.finish(own, attended, self.config.norm_epsilon))

    def _seen(self, valid: Bool[Array, "S L"]) -> tuple[Rotation, Bool[Array, "S L L"]]:
        """How each token is turned, and which ones it attends to."""
        place, position = jnp.arange(valid.shape[1]), _positions(valid)
        rotation = rotation_at(position, self.config, self.embedding.dtype)
        return rotation, self._allowed(place, position, place, position, valid)

    def _run(
        self,
        blocks: Block,
        x: Float[Array, "S L D"],
        rotation: Rotation,
        allowed: Bool[Array, "S L L"],
    ) -> Float[Array, "S L D"]:
        """All tokens through some of the blocks."""

        def run(x: Array, block: Block) -> tuple[Array, None]:
            query = block.queries(x, rotation, self.config)
            key, value = block.keys_and_values(x, rotation, self.config)
            attended = _attend(query, key, value, allowed)
            return block.finish(x, attended, self.config.norm_epsilon), None

        return jax.lax.scan(run, x, blocks, unroll=self._unrolled)[0]

    def empty_cache(self, rows: int, length: int) -> Cache:
        """A cache of so many sequences, with ``length`` places each."""
        config = self.config
        shape = (config.layers, rows, length, config.key_value_heads, config.head_width)
        empty = jnp.zeros(shape, self.embedding.dtype)
        return Cache(empty, empty, jnp.zeros((rows, length), bool), jnp.zeros((), jnp.int32))

    def advance(
        self, cache: Cache, tokens: Int[Array, "S K"], valid: Bool[Array, "S K"]
    ) -> tuple[Float[Array, "S K D"], Cache]:
        """Features of K more tokens of every row, and the cache with them in it.

        Equal to ``features`` of all tokens so far, to rounding. A token that is not valid takes a
        place as well. The cache must have K places left: nothing checks it, since ``filled`` is
        known only when the program runs.
        """
        valid = jnp.asarray(valid)
        seen = jax.lax.dynamic_update_slice(cache.valid, valid, (0, cache.filled))
        place, positions = jnp.arange(seen.shape[1]), _positions(seen)
        own = cache.filled + jnp.arange(tokens.shape[1])
        position = jnp.take(positions, own, axis=1)
        allowed = self._allowed(own, position, place, positions, seen)
        rotation = rotation_at(position, self.config, self.embedding.dtype)

        def run(carry: tuple[Array, Array, Array], numbered: tuple[Array, Block]):  # noqa: ANN202
            (x, keys, values), (layer, block) = carry, numbered
            query = block.queries(x, rotation, self.config)
            key, value = block.keys_and_values(x, rotation, self.config)
            start = (layer, 0, cache.filled, 0, 0)
            # The caches are carried, so that they are written in place and never copied.
            keys = jax.lax.dynamic_update_slice(keys, key[None], start)
            values = jax.lax.dynamic_update_slice(values, value[None], start)
            attended = _attend(query, keys[layer], values[layer], allowed)
            return (block.finish(x, attended, self.config.norm_epsilon), keys, values), None

        first = (self._embed(tokens, valid), cache.keys, cache.values)
        layers = jnp.arange(self.config.layers)
        (x, keys, values), _ = jax.lax.scan(
            run, first, (layers, self.blocks), unroll=self._unrolled
        )
        return self._normed(x), Cache(keys, values, seen, cache.filled + tokens.shape[1])

    @property
    def _unrolled(self) -> bool:
        """Whether there is no loop over layers."""
        return self.config.layers <= FEW_LAYERS

    def _embed(self, tokens: Int[Array, "S K"], valid: Bool[Array, "S K"]) -> Float[Array, "S K D"]:
        # Whatever number an invalid token has, it is an index of the table.
        return self.embedding[jnp.where(valid, tokens, 0)]

    def _normed(self, x: Float[Array, "S K D"]) -> Float[Array, "S K D"]:
        precise = jnp.promote_types(x.dtype, jnp.float32)
        return rms_norm(x.astype(precise), self.norm, self.config.norm_epsilon)

    def _allowed(
        self,
        place: Int[Array, " K"],
        position: Int[Array, "S K"],
        key_place: Int[Array, " T"],
        key_position: Int[Array, "S T"],
        key_valid: Bool[Array, "S T"],
    ) -> Bool[Array, "S K T"]:
        """Which tokens each token attends to: valid ones, up to itself, within the window."""
        allowed = (key_place <= place[:, None]) & key_valid[:, None]
        if self.config.sliding_window is not None:
            distance = position[:, :, None] - key_position[:, None]
            allowed &= distance < self.config.sliding_window
        return allowed


def _positions(valid: Bool[Array, "S T"]) -> Int[Array, "S T"]:
    """Each token's number among the valid ones of its row."""
    return jnp.maximum(jnp.cumsum(valid, axis=1) - 1, 0)


def at_columns(leaf: Shaped[Array, "S L *B"], columns: Int[Array, "S K"]) -> Array:
    """[S, K, …]: what stands at each row's own columns."""
    return jax.vmap(lambda row, at: row[at])(leaf, columns)


def rms_norm(x: Float[Array, "*B D"], scale: Float[Array, " D"], epsilon: float) -> Array:
    """x/√(mean x² + ε)·scale, computed in float32 or better."""
    precise = x.astype(jnp.promote_types(x.dtype, jnp.float32))
    square = jnp.mean(jnp.square(precise), axis=-1, keepdims=True)
    return (precise * jax.lax.rsqrt(square + epsilon)).astype(x.dtype) * scale.astype(x.dtype)


def _attend(
    query: Float[Array, "S K H W"],
    key: Float[Array, "S T G W"],
    value: Float[Array, "S T G W"],
    allowed: Bool[Array, "S K T"],
) -> Float[Array, "S K HW"]:
    """Softmax(q·k/√W)·v; where nothing is allowed, some finite numbers."""
    rows, count, heads, width = query.shape
    grouped = query.reshape(rows, count, key.shape[2], -1, width)
    precise = jnp.promote_types(query.dtype, jnp.float32)
    score = jnp.einsum("skgqw,stgw->sgqkt", grouped, key, preferred_element_type=precise)
    score = jnp.where(allowed[:, None, None], score * width**-0.5, jnp.finfo(precise).min / 2)
    share = jax.nn.softmax(score, axis=-1).astype(value.dtype)
    return jnp.einsum("sgqkt,stgw->skgqw", share, value).reshape(rows, count, heads * width)
