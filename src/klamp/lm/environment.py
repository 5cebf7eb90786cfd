"""What a policy talks with: environments of text, and their twins in JAX, of token ids.

An episode is a prompt and turns: the policy writes tokens, the environment answers with a reward
and with an observation that is appended as token ids. A task that ends after one turn is a prompt
with a reward.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple, Protocol, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from klamp.config.validation import is_number
from klamp.errors import EnvironmentFault, shown
from klamp.lm.decoder import Decoder
from klamp.lm.generation import (
    Sampling,
    TurnLimits,
    Writing,
    begin,
    bucket,
    earned,
    hear,
    padded,
    speak,
)
from klamp.lm.rewards import Prompt
from klamp.lm.sequences import Completions, Record, completions_of
from klamp.lm.user_calls import CallFault, call_all
from klamp.runtime.seeding import Purpose, environment_seed


class TokenTurn(NamedTuple):
    """What one turn of one token environment leads to."""

    state: Any
    """A pytree like the one that ``reset`` returned."""
    observation: Int[Array, " K"]
    """The answer; of one length always."""
    valid: Bool[Array, " K"]
    """Which of its tokens are said."""
    reward: Float[Array, ""]
    terminated: Bool[Array, ""]
    truncated: Bool[Array, ""]


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


@dataclass(frozen=True)
class TextGame:
    """How text environments are made, and read and written as token ids."""

    make: Callable[[], TextEnvironment]
    encode_prompt: Callable[[Prompt], Sequence[int]]
    encode: Callable[[str], Sequence[int]]
    """Of observations."""
    decode: Callable[[Sequence[int]], str]
    limits: TurnLimits
    turns: int = 1
    longest_prompt: int = 512
    """Tokens."""
    longest_observation: int = 128
    """Tokens."""
    time_limit: float = field(default=60.0)
    """Seconds that one call of an environment may take."""


class Played(NamedTuple):
    """Episodes of text environments, as tokens and as text."""

    completions: Completions
    prompts: list[Prompt]
    texts: list[list[str]]
    """What the policy wrote, turn by turn."""
    info: list[Mapping[str, Any]]
    """What each environment said last."""


def play_text(
    decoder: Decoder,
    game: TextGame,
    prompts: Sequence[int],
    seed: int,
    key: PRNGKeyArray,
    sampling: Sampling,
) -> Played:
    """One episode of each row in ``prompts``, each with an environment of its own.

    Raises ``EnvironmentFault`` with the row, the turn and the environment's own words where one
    raises, hangs, or answers with what is no ``Turn``.
    """
    count, limits = len(prompts), game.limits
    environments = [game.make() for _ in prompts]
    seeds = [environment_seed(seed, Purpose.EPISODE, row, 0) for row in prompts]
    began = _called(game, [e.reset for e in environments], list(zip(prompts, seeds, strict=True)))
    ids = [_encoded(game.encode_prompt, text, game.longest_prompt, "prompt") for text in began]
    start = padded(ids, bucket(max(map(len, ids)), game.longest_prompt))
    spoken = game.turns * limits.new_tokens
    width = start[0].shape[1] + spoken + (game.turns - 1) * game.longest_observation
    writing = _begin(decoder, *start, width)
    going_on, terminated = np.ones(count, bool), np.zeros(count, bool)
    texts: list[list[str]] = [[] for _ in prompts]
    info: list[Mapping[str, Any]] = [{} for _ in prompts]
    for turn in range(1, game.turns + 1):
        number = jnp.asarray(turn)
        writing = _speak(
            decoder, writing, going_on, number, key, jnp.arange(count), limits, sampling
        )
        active = np.flatnonzero(going_on)
        for row, text in zip(active, _written(game, writing.record, turn, active), strict=True):
            texts[row].append(text)
        steps = [environments[row].step for row in active]
        names = [f"row {prompts[row]}, turn {turn}" for row in active]
        answers = _called(game, steps, [(texts[row][-1],) for row in active], names)
        reward, heard = np.zeros(count, np.float32), [[] for _ in prompts]
        for row, name, answer in zip(active, names, answers, strict=True):
            _check(answer, name)
            reward[row], info[row] = answer.reward, answer.info
            terminated[row] = answer.terminated
            going_on[row] = not (answer.terminated or answer.truncated)
            if going_on[row] and answer.observation:
                said = answer.observation
                heard[row] = _encoded(game.encode, said, game.longest_observation, "observation")
        writing = _earned(writing, reward)
        if turn == game.turns or not going_on.any():
            break
        size = bucket(max(map(len, heard)), game.longest_observation)
        writing = _hear(decoder, writing, *padded(heard, size))
    rows = jnp.asarray(prompts, jnp.int32)
    completions = _completed(writing.record, terminated, ~terminated, rows, spoken)
    return Played(completions, began, texts, info)


_begin, _hear, _earned = eqx.filter_jit(begin), eqx.filter_jit(hear), eqx.filter_jit(earned)
_completed = eqx.filter_jit(completions_of)


@eqx.filter_jit
def _speak(*parts: Any) -> Writing:
    return speak(*parts)[0]


def _written(game: TextGame, record: Record, turn: int, rows: np.ndarray) -> list[str]:
    """What these rows wrote in this turn, without a token that ended it."""
    tokens, by_policy = np.asarray(record.tokens)[rows], np.asarray(record.turn)[rows] == turn
    said = [row[mine].tolist() for row, mine in zip(tokens, by_policy, strict=True)]
    return [game.decode(ids[:-1] if ids[-1] in game.limits.stop else ids) for ids in said]


Said = TypeVar("Said")


def _called(
    game: TextGame,
    methods: Sequence[Callable[..., Said]],
    arguments: Sequence[tuple[Any, ...]],
    names: Sequence[str] | None = None,
) -> list[Said]:
    calls = [partial(f, *given) for f, given in zip(methods, arguments, strict=True)]
    try:
        return call_all(calls, game.time_limit)
    except CallFault as fault:
        where = names[fault.index] if names else f"row {arguments[fault.index][0]}, reset"
        raise EnvironmentFault(f"The text environment ({where}) {fault.what}") from fault.__cause__


def _check(answer: Any, name: str) -> None:
    if not isinstance(answer, Turn):
        raise EnvironmentFault(
            f"The text environment ({name}) answered {shown(answer)}; `step` must return a "
            "`klamp.lm.Turn`."
        )
    text = answer.observation is None or isinstance(answer.observation, str)
    if not text or not is_number(answer.reward):
        raise EnvironmentFault(
            f"The text environment ({name}) answered with the observation "
            f"{shown(answer.observation)} and the reward {shown(answer.reward)}; expected a text "
            "or None, and a finite number."
        )


def _encoded(
    encode: Callable[[Any], Sequence[int]], text: Any, longest: int, what: str
) -> Sequence[int]:
    ids = encode(text)
    if len(ids) > longest or (what == "prompt" and not ids):
        raise EnvironmentFault(
            f"A text environment's {what} has {len(ids)} tokens, but may have {longest} at most"
            f" (and a prompt at least 1): {shown(text)}. Shorten it, or raise the limit."
        )
    return ids
