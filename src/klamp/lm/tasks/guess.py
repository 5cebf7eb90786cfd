"""Guess a number in as few turns as possible, told each time whether it is smaller or larger."""

from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int, PRNGKeyArray

from klamp.lm.environments.environment import TokenTurn
from klamp.lm.networks.generation import TurnLimits


class Secret(NamedTuple):
    """The number, and the range that the answers so far leave."""

    number: Int[Array, ""]
    low: Int[Array, ""]
    high: Int[Array, ""]


@dataclass(frozen=True)
class Guess:
    """A turn is one token, the guess; the answer is ``<``, ``>`` or ``=``, each guess earns −1.

    ``<`` says that the number is smaller than the guess. What is no number is answered by ``?``.
    An episode that has not found the number after ``turns`` guesses is over.
    """

    numbers: int = 16
    turns: int = 6

    @property
    def limits(self) -> TurnLimits:
        """One token a turn."""
        return TurnLimits(1)

    @property
    def vocabulary(self) -> tuple[str, ...]:
        """The numbers from 0, and the answers."""
        return (*map(str, range(self.numbers)), "<", ">", "=", "?")

    @property
    def optimum(self) -> float:
        """The mean return of binary search, whose i-th number is found after ⌊log₂ i⌋ + 1."""
        return -sum(i.bit_length() for i in range(1, self.numbers + 1)) / self.numbers

    def reset(self, key: PRNGKeyArray) -> tuple[Secret, Int[Array, "1"], Bool[Array, "1"]]:
        """The prompt is ``?``."""
        number = jax.random.randint(key, (), 0, self.numbers)
        low, high = jnp.zeros_like(number), jnp.full_like(number, self.numbers - 1)
        return Secret(number, low, high), jnp.asarray([self.numbers + 3]), jnp.ones(1, bool)

    def step(self, state: Secret, tokens: Int[Array, "1"], count: Array) -> TokenTurn:
        """Smaller, larger, or found."""
        del count
        guess, number = tokens[0], state.number
        real = guess < self.numbers
        smaller, larger = real & (number < guess), real & (number > guess)
        answer = jnp.where(smaller, 0, jnp.where(larger, 1, jnp.where(real, 2, 3))) + self.numbers
        low = jnp.where(larger, jnp.maximum(state.low, guess + 1), state.low)
        high = jnp.where(smaller, jnp.minimum(state.high, guess - 1), state.high)
        found = guess == number
        said = answer[None].astype(jnp.int32)
        reward = jnp.asarray(-1.0)
        after = Secret(number, low, high)
        return TokenTurn(after, said, jnp.ones(1, bool), reward, found, jnp.asarray(False))

    def expert(self, state: Secret, key: PRNGKeyArray) -> tuple[Array, Array]:
        """The middle of what is left."""
        del key
        return ((state.low + state.high) // 2)[None], jnp.asarray(1)
