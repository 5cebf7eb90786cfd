"""Every random number is a function of (seed, purpose, iteration, index).

No generator is stored or advanced: what an iteration draws does not depend on what ran before it,
so a run that is resumed draws what the uninterrupted run draws.
"""

from dataclasses import dataclass
from enum import IntEnum

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PRNGKeyArray, UInt32


class Purpose(IntEnum):
    """What a random number is for. The values are part of every run: append, never renumber."""

    INITIALISE = 0
    ACT = 1
    SHUFFLE = 2
    EPISODE = 3
    EVALUATE = 4
    CHECK = 5
    DROPOUT = 6
    RESET = 7
    ACT_EVALUATED = 8
    EVALUATE_WHILE_TRAINING = 9


def key(
    seed: int, purpose: Purpose, iteration: int = 0, index: int = 0, *, shard: int = 0
) -> PRNGKeyArray:
    """The JAX key for one purpose at one iteration, in one of the run's shards."""
    return key_of(key_words(seed, purpose, iteration, index, shard=shard))


def key_words(
    seed: int, purpose: Purpose, iteration: int = 0, index: int = 0, *, shard: int = 0
) -> UInt32[np.ndarray, "2"]:
    """The words of that key, for a program that makes it itself: see ``key_of``.

    A key is wrapped by a call of JAX, a tenth of a millisecond where it stands between others.
    """
    return _sequence(seed, purpose, iteration, index, shard).generate_state(2)


@jax.jit  # a third of the time of the same calls one by one
def key_of(words: UInt32[np.ndarray, "2"] | UInt32[Array, "2"]) -> PRNGKeyArray:
    """The key of these words."""
    return jax.random.wrap_key_data(jnp.asarray(words), impl="threefry2x32")


def environment_seed(seed: int, purpose: Purpose, environment: int, episode: int) -> int:
    """The seed of one episode of one environment: 31 bits, which every simulator takes."""
    return int(_sequence(seed, purpose, environment, episode).generate_state(1)[0] >> 1)


def generator(
    seed: int, purpose: Purpose, iteration: int = 0, index: int = 0, *, shard: int = 0
) -> np.random.Generator:
    """The NumPy generator for one purpose at one iteration, in one of the run's shards."""
    return np.random.Generator(np.random.Philox(_sequence(seed, purpose, iteration, index, shard)))


@dataclass(frozen=True)
class EnvironmentSeeds:
    """Where environments that are stepped together take their random numbers from."""

    seed: int
    """The run's."""
    purpose: Purpose
    first: int = 0
    """The index of the first of them among all environments of the run."""

    def of_episode(self, row: int, episode: int) -> int:
        """The seed of one row's episode of that number."""
        return environment_seed(self.seed, self.purpose, self.first + row, episode)

    def of_steps(self, iteration: int) -> PRNGKeyArray:
        """The key of all steps of one iteration."""
        return key_of(self.words_of_steps(iteration))

    def words_of_steps(self, iteration: int) -> UInt32[np.ndarray, "2"]:
        """The words of that key, for a program that makes it itself."""
        return key_words(self.seed, self.purpose, iteration, shard=self.first)

    def of_reset(self, number: int) -> PRNGKeyArray:
        """The key of a reset of all rows, of which there have been ``number`` before."""
        return key(self.seed, Purpose.RESET, int(self.purpose), number, shard=self.first)

    def generator(self, iteration: int) -> np.random.Generator:
        """The generator of one iteration, for rows that share one."""
        return generator(self.seed, Purpose.RESET, self.purpose, iteration, shard=self.first)


def _sequence(
    seed: int, purpose: Purpose, first: int, second: int, shard: int = 0
) -> np.random.SeedSequence:
    # The first shard, which in most runs is the only one, draws from four words.
    more = (shard,) if shard else ()
    return np.random.SeedSequence((seed, int(purpose), first, second, *more))
