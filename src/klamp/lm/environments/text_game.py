"""Episodes of text environments, which run on the host beside the decoder."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple, TypeVar

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import PRNGKeyArray

from klamp.config.validation import is_number
from klamp.errors import EnvironmentFault, shown
from klamp.lm.environments.environment import TextEnvironment, Turn
from klamp.lm.environments.rewards import Prompt
from klamp.lm.environments.user_calls import CallFault, call_all
from klamp.lm.networks.decoder import Decoder
from klamp.lm.networks.generation import (
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
from klamp.lm.tokens.sequences import Completions, Record, completions_of
from klamp.runtime.seeding import Purpose, environment_seed


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
    time_limit: float = 60.0
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
    places: np.ndarray,
    seed: int,
    key: PRNGKeyArray,
    sampling: Sampling,
) -> Played:
    """One episode of each row in ``prompts``, each with an environment of its own.

    ``places`` are the numbers of these episodes in their batch, which decide their randomness.
    Raises ``EnvironmentFault`` with the row, the turn and the environment's own words where one
    raises, hangs, or answers with what is no ``Turn``.
    """
    count, limits, own = len(prompts), game.limits, jnp.asarray(places, jnp.int32)
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
        writing = _speak(decoder, writing, going_on, number, key, own, limits, sampling)
        active: list[int] = np.flatnonzero(going_on).tolist()
        for row, text in zip(active, _written(game, writing.record, turn, active), strict=True):
            texts[row].append(text)
        steps = [environments[row].step for row in active]
        names = [f"row {prompts[row]}, turn {turn}" for row in active]
        answers = _called(game, steps, [(texts[row][-1],) for row in active], names)
        reward = np.zeros(count, np.float32)
        heard: list[Sequence[int]] = [[] for _ in prompts]
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


def _written(game: TextGame, record: Record, turn: int, rows: list[int]) -> list[str]:
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
    said: Any = answer.observation
    text = said is None or isinstance(said, str)
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
