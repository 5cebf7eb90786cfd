"""An agent that keeps a memory of facts, as in Memory-R1 (arXiv:2508.19828), in miniature.

Facts come one by one; for each the policy writes one operation on its memory. Then it is asked for
one of the facts, is shown what its memory holds of it, and answers.
"""

from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int, PRNGKeyArray

from klamp.lm.environments.environment import TokenTurn
from klamp.lm.networks.generation import TurnLimits

ADD, UPDATE, DELETE, NOOP = range(4)
"""The ids of the operations."""
OPERATIONS = ("ADD", "UPDATE", "DELETE", "NOOP")


class Memory(NamedTuple):
    """What is true, what the policy keeps, and what it was told last; −1 stands for nothing."""

    key: PRNGKeyArray
    turn: Int[Array, ""]
    """Facts told so far; one more once the question was asked."""
    truth: Int[Array, " names"]
    kept: Int[Array, " names"]
    name: Int[Array, ""]
    value: Int[Array, ""]


@dataclass(frozen=True)
class Remember:
    """``a 3`` says that a is 3, ``a -`` that a is no longer known; ``a ? 3`` asks for a.

    ADD keeps a fact of which memory has none yet, UPDATE replaces one that it has, DELETE takes one
    out, NOOP does nothing. The reward is 1 where the answer (a value, or ``-``) and the memory are
    both right, else 0.
    """

    names: int = 3
    values: int = 4
    facts: int = 4

    @property
    def limits(self) -> TurnLimits:
        """One token a turn."""
        return TurnLimits(1)

    @property
    def turns(self) -> int:
        """An operation for each fact, and the answer."""
        return self.facts + 1

    @property
    def vocabulary(self) -> tuple[str, ...]:
        """Operations, ``-``, ``?``, values, names."""
        names = "abcdefghijklmnopqrstuvwxyz"[: self.names]
        return (*OPERATIONS, "-", "?", *map(str, range(self.values)), *names)

    def reset(self, key: PRNGKeyArray) -> tuple[Memory, Int[Array, "3"], Bool[Array, "3"]]:
        """The prompt is the first fact."""
        nothing = jnp.full(self.names, -1)
        start = jnp.asarray(0)
        state, said, valid = self._told(Memory(key, start, nothing, nothing, start, start))
        return state, jnp.roll(said, 1), jnp.roll(valid, 1)

    def step(self, state: Memory, tokens: Int[Array, "1"], count: Array) -> TokenTurn:
        """The memory after the operation and the next fact, or the reward of the answer."""
        del count
        asked, token = state.turn > self.facts, tokens[0]
        kept = jnp.where(asked, state.kept, self._operated(state, token))
        state = state._replace(kept=kept)
        true = state.truth[state.name]
        right = asked & (token == self._value(true)) & (kept[state.name] == true)
        told, said, valid = self._told(state)
        question, asking = self._asked(state)
        last = state.turn == self.facts
        after = jax.tree.map(lambda a, b: jnp.where(last, a, b), question, told)
        said, valid = jnp.where(last, asking, said), valid | last
        reward = right.astype(jnp.float32)
        return TokenTurn(after, said, valid, reward, asked, jnp.asarray(False))

    def expert(self, state: Memory, key: PRNGKeyArray) -> tuple[Array, Array]:
        """The operation that keeps the memory true, or what the memory says."""
        del key
        has, true = state.kept[state.name], state.value
        changed = jnp.where(has < 0, ADD, jnp.where(true < 0, DELETE, UPDATE))
        operation = jnp.where(has == true, NOOP, changed)
        answer = jnp.where(has < 0, 4, has + 6)
        return jnp.where(state.turn > self.facts, answer, operation)[None], jnp.asarray(1)

    def _operated(self, state: Memory, token: Int[Array, ""]) -> Int[Array, " names"]:
        has = state.kept[state.name]
        written = (state.value >= 0) & jnp.where(has < 0, token == ADD, token == UPDATE)
        value = jnp.where(written, state.value, jnp.where(token == DELETE, -1, has))
        return state.kept.at[state.name].set(value)

    def _told(self, state: Memory) -> tuple[Memory, Array, Array]:
        """One more fact: a new value three times in four, else that the name is forgotten."""
        drawn = jax.random.fold_in(state.key, state.turn)
        name = jax.random.randint(jax.random.fold_in(drawn, 0), (), 0, self.names)
        value = jax.random.randint(jax.random.fold_in(drawn, 1), (), 0, self.values)
        forgotten = jax.random.uniform(jax.random.fold_in(drawn, 2)) < 0.25
        value = jnp.where(forgotten, -1, value)
        truth = state.truth.at[name].set(value)
        after = state._replace(turn=state.turn + 1, truth=truth, name=name, value=value)
        said = jnp.stack([self._token(name), self._value(value), jnp.asarray(0)])
        return after, said, jnp.asarray([True, True, False])

    def _asked(self, state: Memory) -> tuple[Memory, Array]:
        """The question for the name of one of the facts."""
        drawn = jax.random.fold_in(state.key, self.facts + 1)
        fact = jax.random.fold_in(state.key, jax.random.randint(drawn, (), 0, self.facts))
        name = jax.random.randint(jax.random.fold_in(fact, 0), (), 0, self.names)
        kept = self._value(state.kept[name])
        said = jnp.stack([self._token(name), jnp.asarray(5), kept])
        return state._replace(turn=state.turn + 1, name=name, value=state.truth[name]), said

    def _token(self, name: Int[Array, ""]) -> Int[Array, ""]:
        return name + 6 + self.values

    def _value(self, value: Int[Array, ""]) -> Int[Array, ""]:
        return jnp.where(value < 0, 4, value + 6)
