"""Writing tokens with a language model: batched, with a cache, as token ids from end to end.

All rows are written at once, one column per call of the decoder; a row that has nothing to say in
a column leaves a hole there, which ``completions_of`` takes out. The randomness of a token comes
from (key, row, number of the action in its row), so a row's tokens do not depend on which rows are
written beside it, nor on how many.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from klamp.config.validation import is_integer, is_number, require
from klamp.lm.networks.decoder import Cache, Decoder
from klamp.lm.tokens.sequences import Record
from klamp.types import HostOrDevice


@dataclass(frozen=True)
class Sampling:
    """How a token is chosen from the logits.

    ``temperature`` is a part of the policy: whatever computes log-probabilities divides by it too.
    The others are for evaluation: what they write was not sampled from the policy.
    """

    temperature: float = 1.0
    greedy: bool = False
    """The most probable token; temperature and the others do nothing."""
    top_k: int | None = None
    """Only among so many of the most probable tokens."""
    top_p: float | None = None
    """Only among the fewest most probable tokens that have this probability together."""

    def __post_init__(self) -> None:
        temperature, top_k, top_p = self.temperature, self.top_k, self.top_p
        require(is_number(temperature) and temperature > 0, self, "temperature", "a number > 0")
        allowed = top_k is None or is_integer(top_k, 1)
        require(allowed, self, "top_k", "an integer ≥ 1, or None")
        allowed = top_p is None or (is_number(top_p) and 0 < top_p <= 1)
        require(allowed, self, "top_p", "a number above 0 and at most 1, or None")

    def choose(
        self, logits: Float[Array, "S V"], keys: PRNGKeyArray
    ) -> tuple[Int[Array, " S"], Float[Array, " S"]]:
        """One token for each row, by the row's own key, and the log of its probability."""
        if self.greedy:
            return jnp.argmax(logits, axis=-1), jnp.zeros(len(logits), logits.dtype)
        logits = self._truncated(logits / self.temperature)
        noise = jax.vmap(lambda key: jax.random.gumbel(key, logits.shape[1:], logits.dtype))(keys)
        token = jnp.argmax(logits + noise, axis=-1)
        of_token = jnp.take_along_axis(logits, token[:, None], axis=-1)[:, 0]
        return token, of_token - jax.nn.logsumexp(logits, axis=-1)

    def _truncated(self, logits: Float[Array, "S V"]) -> Float[Array, "S V"]:
        if self.top_k is not None and self.top_k < logits.shape[-1]:
            least = jax.lax.top_k(logits, self.top_k)[0][:, -1:]
            logits = jnp.where(logits >= least, logits, -jnp.inf)
        if self.top_p is not None and self.top_p < 1:
            ordered = jnp.sort(logits, axis=-1, descending=True)
            share = jax.nn.softmax(ordered, axis=-1)
            kept = jnp.cumsum(share, axis=-1) - share < self.top_p
            least = jnp.min(jnp.where(kept, ordered, jnp.inf), axis=-1, keepdims=True)
            logits = jnp.where(logits >= least, logits, -jnp.inf)
        return logits


@dataclass(frozen=True)
class TurnLimits:
    """How long a policy speaks before it is another's turn."""

    new_tokens: int
    """The most tokens of one turn."""
    stop: tuple[int, ...] = ()
    """The tokens that end a turn, themselves a part of it; without any, turns are of one length."""


class Writing(NamedTuple):
    """S sequences that are being written. The cache has yet to read the last sampled column."""

    record: Record
    cache: Cache
    features: Float[Array, "S D"]
    """At the last token of each row that is in the cache."""
    actions: Int[Array, " S"]
    """Tokens sampled so far."""
    column: Int[Array, " S"]
    """Where the last of them stands."""


def begin(
    decoder: Decoder,
    tokens: Int[HostOrDevice, "S P"],
    valid: Bool[HostOrDevice, "S P"],
    length: int,
) -> Writing:
    """The prompts, read; ``length`` is the number of columns that may be filled in all."""
    rows, width = tokens.shape
    empty = jnp.zeros((rows, length), jnp.int32)
    unwritten = jnp.zeros((rows, length))
    record = Record(empty, empty > 0, empty, unwritten, unwritten)
    none = jnp.zeros(rows, jnp.int32)
    features = jnp.zeros((rows, decoder.head.shape[1]), jnp.float32)
    cache = decoder.empty_cache(rows, length)
    writing = Writing(record, cache, features, none, none)
    return _read(decoder, _noted(writing, 0, tokens, valid), width)


def hear(
    decoder: Decoder,
    writing: Writing,
    tokens: Int[HostOrDevice, "S K"],
    valid: Bool[HostOrDevice, "S K"],
) -> Writing:
    """What others said, appended as token ids."""
    after = writing.cache.filled + 1
    return _read(decoder, _noted(writing, after, tokens, valid), tokens.shape[1] + 1)


def speak(
    decoder: Decoder,
    writing: Writing,
    active: Bool[HostOrDevice, " S"],
    turn: Int[Array, ""] | int,
    key: PRNGKeyArray,
    rows: Int[Array, " S"],
    limits: TurnLimits,
    sampling: Sampling,
) -> tuple[Writing, Bool[Array, " S"]]:
    """One turn of the active rows, and which of them the limit cut off.

    ``turn`` counts from 1; ``rows`` are the numbers that, with ``key``, decide the randomness.
    """
    stop = jnp.asarray(limits.stop, jnp.int32)

    def choose(writing: Writing, active: Array) -> tuple[Writing, Array]:
        logits = writing.features @ decoder.head.T.astype(writing.features.dtype)
        keys = jax.vmap(lambda row, n: jax.random.fold_in(jax.random.fold_in(key, row), n))(
            rows, writing.actions
        )
        token, log_prob = sampling.choose(logits, keys)
        at = writing.cache.filled
        columns = (token[:, None], active[:, None], turn, log_prob[:, None])
        writing = _noted(writing, at, *columns)._replace(
            actions=writing.actions + active,
            column=jnp.where(active, at, writing.column),
        )
        return writing, active & ~jnp.isin(token, stop)

    def more(carry: tuple[Array, Writing, Array]) -> Array:
        count, _, active = carry
        return (count < limits.new_tokens) & jnp.any(active)

    def go_on(carry: tuple[Array, Writing, Array]) -> tuple[Array, Writing, Array]:
        count, writing, active = carry
        return count + 1, *choose(_read(decoder, writing, 1), active)

    first = (jnp.asarray(1), *choose(writing, jnp.asarray(active)))
    return jax.lax.while_loop(more, go_on, first)[1:]


@eqx.filter_jit
def generate(
    decoder: Decoder,
    tokens: Int[HostOrDevice, "S P"],
    valid: Bool[HostOrDevice, "S P"],
    key: PRNGKeyArray,
    rows: Int[Array, " S"],
    limits: TurnLimits,
    sampling: Sampling,
) -> tuple[Record, Bool[Array, " S"]]:
    """One completion of each prompt, and which were cut off before a token that stops.

    Prompts are padded on the left. Without tokens that stop, none is cut off.
    """
    writing = begin(decoder, tokens, valid, tokens.shape[1] + limits.new_tokens)
    active = jnp.ones(len(tokens), bool)
    writing, cut = speak(decoder, writing, active, 1, key, rows, limits, sampling)
    return writing.record, cut if limits.stop else jnp.zeros_like(cut)


def earned(writing: Writing, reward: Float[HostOrDevice, " S"]) -> Writing:
    """With a reward on each row's last sampled token."""
    rows = jnp.arange(len(reward))
    record = writing.record
    placed = record.reward.at[rows, writing.column].add(reward)
    return writing._replace(record=record._replace(reward=placed))


def padded(prompts: Sequence[Sequence[int]], length: int) -> tuple[np.ndarray, np.ndarray]:
    """Token ids [S, length] with padding on the left, and which of them are tokens."""
    tokens = np.zeros((len(prompts), length), np.int32)
    valid = np.zeros((len(prompts), length), bool)
    for row, prompt in enumerate(prompts):
        if prompt:
            tokens[row, -len(prompt) :], valid[row, -len(prompt) :] = prompt, True
    return tokens, valid


def bucket(length: int, longest: int) -> int:
    """The length that is compiled for: ``longest``, or its half, quarter or eighth if it fits."""
    halves = [-(-longest // part) for part in (8, 4, 2)]
    return next((size for size in halves if size >= length), longest)


def _noted(
    writing: Writing,
    at: Int[Array, ""] | int,
    tokens: Int[HostOrDevice, "S K"],
    valid: Bool[HostOrDevice, "S K"],
    turn: Int[Array, ""] | int = 0,
    log_prob: Float[Array, "S K"] | float = 0.0,
) -> Writing:
    """With these tokens in the record from column ``at`` on."""

    def put(whole: Array, part: HostOrDevice | float) -> Array:
        said = jnp.where(valid, part, 0).astype(whole.dtype)
        return jax.lax.dynamic_update_slice(whole, said, (0, at))

    old = writing.record
    parts = (put(old.tokens, tokens), put(old.valid, valid), put(old.turn, turn), old.reward)
    sampled = None if old.log_prob is None else put(old.log_prob, log_prob)
    return writing._replace(record=Record(*parts, sampled))


def _read(decoder: Decoder, writing: Writing, count: int) -> Writing:
    """The next ``count`` columns of the record put into the cache."""
    record, at = writing.record, writing.cache.filled
    size = (len(record.tokens), count)
    tokens = jax.lax.dynamic_slice(record.tokens, (0, at), size)
    valid = jax.lax.dynamic_slice(record.valid, (0, at), size)
    features, cache = decoder.advance(writing.cache, tokens, valid)
    last = count - 1 - jnp.argmax(valid[:, ::-1], axis=1)
    at_last = jnp.take_along_axis(features, last[:, None, None], axis=1)[:, 0]
    shown = jnp.where(jnp.any(valid, axis=1)[:, None], at_last, writing.features)
    return writing._replace(cache=cache, features=shown)
