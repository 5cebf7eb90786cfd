"""What a policy talks with: environments of text, and their twins in JAX, of token ids.

An episode is a prompt and turns: the policy writes tokens, the environment answers with a reward
and with an observation that is appended as token ids. A task that ends after one turn is a prompt
with a reward.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from klamp.lm.environments.rewards import Prompt
from klamp.lm.networks.decoder import Decoder
from klamp.lm.networks.generation import (
    Sampling,
    TurnLimits,
    Writing,
    begin,
    earned,
    hear,
    speak,
)
from klamp.lm.tokens.sequences import Completions, completions_of
from klamp.types import HostOrDevice


class TokenTurn(NamedTuple):
    """What one turn of one token environment leads to."""

    state: Any
    """A pytree like the one that ``reset`` returned."""
    observation: Int[HostOrDevice, " K"]
    """The answer; of one length always."""
    valid: Bool[HostOrDevice, " K"]
    """Which of its tokens are said."""
    reward: Float[Array, ""]
    terminated: Bool[Array, ""]
    truncated: Bool[Array, ""]


NOTHING_SAID = (np.zeros(0, np.int32), np.zeros(0, bool))
"""The observation of an environment that ends after one turn, and its validity."""


class TokenEnvironment(Protocol):
    """One environment as pure functions of token ids, fit for ``jax.jit`` and ``jax.vmap``.

    All randomness comes from the key of ``reset``; a state may hold a key of its own.
    """

    @property
    def turns(self) -> int:
        """The most turns: an episode that goes on after them is truncated."""
        ...

    @property
    def limits(self) -> TurnLimits:
        """How long the policy speaks in each turn."""
        ...

    def reset(self, key: PRNGKeyArray) -> tuple[Any, Int[Array, " P"], Bool[Array, " P"]]:
        """The state, the prompt's tokens, and which of them are said (padding on the left)."""
        ...

    def step(self, state: Any, tokens: Int[Array, " N"], count: Int[Array, ""]) -> TokenTurn:
        """The answer to the first ``count`` of the tokens; what stands behind may be anything."""
        ...


class _Episodes(NamedTuple):
    """S episodes of a token environment on their way."""

    turn: Int[Array, ""]
    writing: Writing
    state: Any
    going_on: Bool[Array, " S"]
    terminated: Bool[Array, " S"]


def resets(environment: TokenEnvironment, data: PRNGKeyArray, prompts: Int[Array, " S"]) -> Any:
    """State, tokens [S, P] and validity of the prompts with these numbers.

    Prompt ``n`` is a function of (``data``, n) alone.
    """
    keys = jax.vmap(lambda number: jax.random.fold_in(data, number))(prompts)
    return jax.vmap(environment.reset)(keys)


@eqx.filter_jit
def play(
    decoder: Decoder,
    environment: TokenEnvironment,
    data: PRNGKeyArray,
    prompts: Int[Array, " S"],
    key: PRNGKeyArray,
    rows: Int[Array, " S"],
    sampling: Sampling,
) -> Completions:
    """One episode of each prompt, played by the decoder.

    ``data`` and the numbers ``prompts`` decide the episodes, ``key`` and the numbers ``rows`` the
    policy's randomness. One program, whatever the number of turns.
    """
    limits, turns = environment.limits, environment.turns
    state, tokens, valid = resets(environment, data, prompts)
    answer = jax.eval_shape(
        lambda *parts: _answers(environment, *parts), state, _said(limits, rows)
    )
    width = tokens.shape[1] + turns * limits.new_tokens + (turns - 1) * answer.observation.shape[1]

    def one_turn(episodes: _Episodes) -> _Episodes:
        turn, writing, state, going_on, terminated = episodes
        start = writing.cache.filled
        writing, _ = speak(decoder, writing, going_on, turn, key, rows, limits, sampling)
        size = (len(rows), limits.new_tokens)
        said = jax.lax.dynamic_slice(writing.record.tokens, (0, start), size)
        by_policy = jax.lax.dynamic_slice(writing.record.turn, (0, start), size) == turn
        after = _answers(environment, state, (said, jnp.sum(by_policy, axis=1)))
        writing = earned(writing, jnp.where(going_on, after.reward, 0))
        terminated |= going_on & after.terminated
        going_on &= ~(after.terminated | after.truncated)
        if turns > 1:
            heard = after.valid & going_on[:, None]
            writing = jax.lax.cond(
                jnp.any(going_on) & (turn < turns),
                lambda writing: hear(decoder, writing, after.observation, heard),
                lambda writing: writing,
                writing,
            )
        return _Episodes(turn + 1, writing, after.state, going_on, terminated)

    none = jnp.zeros(len(rows), bool)
    first = _Episodes(jnp.asarray(1), begin(decoder, tokens, valid, width), state, ~none, none)
    if turns == 1:
        last = one_turn(first)
    else:
        last = jax.lax.while_loop(
            lambda now: (now.turn <= turns) & jnp.any(now.going_on), one_turn, first
        )
    over, actions = last.terminated, turns * limits.new_tokens
    return completions_of(last.writing.record, over, ~over, prompts, actions)


def _answers(environment: TokenEnvironment, state: Any, said: tuple[Array, Array]) -> TokenTurn:
    return jax.vmap(environment.step)(state, *said)


def _said(limits: TurnLimits, rows: Array) -> tuple[Array, Array]:
    return jnp.zeros((len(rows), limits.new_tokens), jnp.int32), jnp.zeros(len(rows), jnp.int32)


class Turn(NamedTuple):
    """What one turn of a text environment leads to."""

    observation: str | None = None
    """What the policy reads next; None for nothing."""
    reward: float = 0.0
    terminated: bool = False
    """The episode is over."""
    truncated: bool = False
    """The episode is cut off here: its future counts, but is not seen."""
    info: Mapping[str, Any] = {}


class TextEnvironment(Protocol):
    """One object per completion; its methods are called from threads, one at a time."""

    def reset(self, row: int, seed: int) -> Prompt:
        """The prompt of this row; completions of one row get one seed, and the same prompt."""
        ...

    def step(self, text: str) -> Turn:
        """The answer to what the policy wrote in its turn."""
        ...
