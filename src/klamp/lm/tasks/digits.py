"""Tasks of one turn with one right answer: sort six digits; add two numbers of two digits."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int, PRNGKeyArray

from klamp.lm.environments.environment import NOTHING_SAID, TokenTurn
from klamp.lm.networks.generation import TurnLimits

VOCABULARY = tuple("0123456789>+=")
SORTED, PLUS, EQUALS = 10, 11, 12
"""The ids of ``>``, ``+`` and ``=``."""


@dataclass(frozen=True)
class Sort:
    """``314159>`` is answered by ``113459``; the reward is 1 for the whole answer, else 0."""

    digits: int = 6
    turns: int = 1

    @property
    def limits(self) -> TurnLimits:
        """As many tokens as there are digits."""
        return TurnLimits(self.digits)

    def reset(
        self, key: PRNGKeyArray
    ) -> tuple[Int[Array, " N"], Int[Array, " P"], Bool[Array, " P"]]:
        """The answer is the state."""
        digits = jax.random.randint(key, (self.digits,), 0, 10)
        prompt = jnp.append(digits, SORTED)
        return jnp.sort(digits), prompt, jnp.ones(len(prompt), bool)

    def step(self, state: Int[Array, " N"], tokens: Int[Array, " N"], count: Array) -> TokenTurn:
        """Right or wrong."""
        del count
        return _judged(state, tokens)

    def expert(self, state: Int[Array, " N"], key: PRNGKeyArray) -> tuple[Array, Array]:
        """The answer."""
        del key
        return state, jnp.asarray(self.digits)


@dataclass(frozen=True)
class Addition:
    """``47+38=`` is answered by ``085``; the reward is 1 for the whole answer, else 0."""

    turns: int = 1

    @property
    def limits(self) -> TurnLimits:
        """Three digits."""
        return TurnLimits(3)

    def reset(self, key: PRNGKeyArray) -> tuple[Int[Array, "3"], Int[Array, "6"], Bool[Array, "6"]]:
        """The answer is the state."""
        first, second = jax.random.randint(key, (2,), 0, 100)
        total = first + second
        sign, equals = jnp.asarray(PLUS), jnp.asarray(EQUALS)
        prompt = (first // 10, first % 10, sign, second // 10, second % 10, equals)
        answer = jnp.stack((total // 100, total // 10 % 10, total % 10))
        return answer, jnp.stack(prompt), jnp.ones(6, bool)

    def step(self, state: Int[Array, "3"], tokens: Int[Array, "3"], count: Array) -> TokenTurn:
        """Right or wrong."""
        del count
        return _judged(state, tokens)

    def expert(self, state: Int[Array, "3"], key: PRNGKeyArray) -> tuple[Array, Array]:
        """The answer."""
        del key
        return state, jnp.asarray(3)


def _judged(answer: Int[Array, " N"], tokens: Int[Array, " N"]) -> TokenTurn:
    right, over = jnp.all(tokens == answer), jnp.asarray(True)
    return TokenTurn(answer, *NOTHING_SAID, right.astype(jnp.float32), over, ~over)
