"""Environments written in JAX, stepped from the host: for evaluation and the start-up check."""

from typing import Any, NamedTuple

import jax
import numpy as np

from klamp.envs.device.batched import BatchedEnvironment, BatchedState, from_arrays, to_arrays
from klamp.envs.device.protocol import DeviceEnvironment
from klamp.envs.host.info_numbers import numbers_of_rows
from klamp.envs.host.interface import Transition, are_episode_numbers, by_the_run
from klamp.errors import CheckpointError
from klamp.runtime.seeding import Purpose, key


class SteppedPosition(NamedTuple):
    """The rows' position, and how often they were reset from outside."""

    stand: BatchedState
    resets: int

    def arrays(self) -> dict[str, np.ndarray]:
        """By name."""
        return to_arrays(self.stand) | {"resets": np.asarray(self.resets, np.int64)}


class SteppedEnvironments:
    """``HostEnvironments`` over one that is written in JAX: each step is one compiled call.

    Step t after ``begin(iteration)`` draws what step t of that iteration's fused rollout draws.
    """

    def __init__(
        self,
        environment: DeviceEnvironment,
        env: str,
        num_envs: int,
        seed: int,
        purpose: Purpose,
        first: int = 0,
    ) -> None:
        """``first`` is the index of the first row among all environments of the run."""
        self._first = first
        self.env, self.num_envs = env, num_envs
        self._together = together = BatchedEnvironment(environment, num_envs)
        self.observation_space, self.action_space = (
            together.observation_space,
            together.action_space,
        )
        self.policy_observation_space = together.policy_observation_space
        self._seed, self._purpose = seed, purpose
        self._resets, self._t = -1, 0
        self._key: Any = key(seed, purpose)
        self._all = np.ones(num_envs, bool)
        self._reset = jax.jit(together.reset)
        self._step = jax.jit(
            lambda key, t, stand, action: together.step(together.keys(key, t), stand, action)
        )
        self._stand: Any = None

    @property
    def action_mask(self) -> np.ndarray | None:
        """[N, entries]: the actions allowed next; None where the environment does not tell."""
        mask = None if self._stand is None else self._stand.mask
        return None if mask is None else np.asarray(mask)

    def begin(self, iteration: int) -> None:
        """Random numbers derive from the iteration's number from now on."""
        self._key, self._t = key(self._seed, self._purpose, iteration, shard=self._first), 0

    def reset(self) -> np.ndarray:
        """Start a new episode in each row."""
        self._resets += 1
        self._stand = self._reset(reset_key(self._seed, self._purpose, self._resets, self._first))
        return np.asarray(self._stand.observation)

    def step(self, action: Any) -> Transition:
        """Step every row."""
        self._stand, after = self._step(self._key, self._t, self._stand, action)
        self._t += 1
        following = np.asarray(self._stand.observation)
        led_to, reward, terminated, truncated = (np.asarray(part) for part in after[:4])
        numbers, rows = None, np.flatnonzero(terminated | truncated)
        if rows.size:
            told = {name: np.asarray(values) for name, values in after.numbers.items()}
            numbers = numbers_of_rows(told, rows)
        return Transition(following, led_to, reward, terminated, truncated, self._all, numbers)

    def origin(self, index: int, *, earlier: int = 0) -> str:
        """Episodes begin from keys of the iteration."""
        return by_the_run(self._seed)

    def position(self) -> SteppedPosition:
        """The rows' position."""
        return SteppedPosition(self._stand, self._resets)

    def restore(self, saved: dict[str, np.ndarray]) -> tuple[np.ndarray, list[str]]:
        """Restore the position."""
        rest = dict(saved)
        resets = rest.pop("resets", None)
        self.reset()
        self._stand = from_arrays(self._stand, rest, self.env)
        if resets is None or resets.shape or not are_episode_numbers(resets):
            raise CheckpointError(f"The checkpoint does not say how often `{self.env}` was reset.")
        self._resets = int(resets)
        return np.asarray(self._stand.observation), []

    def close(self) -> None:
        """Nothing to free."""


def reset_key(seed: int, purpose: Purpose, number: int, first: int = 0) -> Any:
    """The key of a reset of all rows, of which there have been ``number`` before.

    ``first`` is the index of the first row among all environments of the run.
    """
    return key(seed, Purpose.RESET, int(purpose), number, shard=first)
