"""What a built-in task is, and how its demonstrations are made."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int, PRNGKeyArray

from klamp.lm.environments.environment import TokenEnvironment, resets
from klamp.lm.learning.supervised import WarmStart
from klamp.lm.networks.decoder import DecoderConfig
from klamp.lm.tokens.sequences import Completions, Record, completions_of, last_of
from klamp.types import HostOrDevice


class DemonstratedEnvironment(TokenEnvironment, Protocol):
    """A token environment that knows what to say."""

    def expert(self, state: Any, key: PRNGKeyArray) -> tuple[Int[Array, " N"], Int[Array, ""]]:
        """What a demonstrator writes in this state, and how many of the tokens that is."""
        ...


@dataclass(frozen=True)
class Task:
    """An environment, how its tokens are written as text, and a small decoder for it."""

    environment: DemonstratedEnvironment
    vocabulary: tuple[str, ...]
    """The text of each token id."""
    optimum: float
    """The mean return of the best policy."""
    decoder: DecoderConfig
    warm_start: WarmStart | None
    exact: bool
    """Whether a return of 1 is the right answer and all others are not."""

    def encode(self, text: str) -> list[int]:
        """The ids of a text: at each place the longest token that fits. ``KeyError`` for others."""
        ids: list[int] = []
        tokens = {token: number for number, token in enumerate(self.vocabulary)}
        longest = max(map(len, self.vocabulary))
        while text := text.removeprefix(" "):
            fitting = [text[:size] for size in range(longest, 0, -1) if text[:size] in tokens]
            token = fitting[0] if fitting else text[0]
            ids.append(tokens[token])
            text = text[len(token) :]
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        """The text of token ids; with spaces between them where a token has several letters."""
        between = " " if max(map(len, self.vocabulary)) > 1 else ""
        return between.join(self.vocabulary[number] for number in ids)


@eqx.filter_jit
def demonstrate(
    environment: DemonstratedEnvironment,
    data: PRNGKeyArray,
    prompts: Int[Array, " S"],
    key: PRNGKeyArray,
) -> Completions:
    """One episode of each prompt, played by the expert; ``key`` is what the expert draws from."""
    state, tokens, valid = resets(environment, data, prompts)
    places, none = jnp.arange(environment.limits.new_tokens), jnp.zeros(len(prompts), bool)

    def one_turn(
        episodes: tuple[Any, Array, Array], turn: Array
    ) -> tuple[tuple[Any, Array, Array], Record]:
        state, going_on, terminated = episodes
        own = jax.random.fold_in(key, turn)
        keys = jax.vmap(lambda number: jax.random.fold_in(own, number))(prompts)
        said, count = jax.vmap(environment.expert)(state, keys)
        mine = (places < count[:, None]) & going_on[:, None]
        after = jax.vmap(environment.step)(state, said, count)
        reward = jnp.where(last_of(mine), after.reward[:, None], 0)
        terminated |= going_on & after.terminated
        going_on &= ~(after.terminated | after.truncated)
        heard = after.valid & going_on[:, None]
        parts = zip(
            _unsaid(after.observation, heard), (said, mine, turn * mine, reward), strict=True
        )
        columns = [jnp.concatenate([ours, theirs], axis=1) for theirs, ours in parts]
        return (after.state, going_on, terminated), Record(*columns)

    turns = jnp.arange(1, environment.turns + 1)
    (_, _, terminated), played = jax.lax.scan(one_turn, (state, ~none, none), turns)
    begun = Record(*_unsaid(tokens, valid))
    record = jax.tree.map(
        lambda first, rest: jnp.concatenate([first, *rest], axis=1), begun, played
    )
    actions = environment.turns * environment.limits.new_tokens
    return completions_of(record, terminated, ~terminated, prompts, actions)


def _unsaid(
    tokens: Int[HostOrDevice, "S K"], valid: Bool[HostOrDevice, "S K"]
) -> tuple[Array, ...]:
    """The columns of a record for tokens that the policy did not sample."""
    nothing = jnp.zeros(tokens.shape)
    return jnp.asarray(tokens), jnp.asarray(valid), nothing.astype(jnp.int32), nothing
