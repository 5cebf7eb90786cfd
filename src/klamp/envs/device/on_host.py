"""Environments written in JAX, stepped from the host: for evaluation and the start-up check."""

from typing import Any, NamedTuple

import jax
import numpy as np

from klamp.envs.device.batched import BatchedEnvironment, BatchedState, from_arrays, to_arrays
from klamp.envs.device.protocol import DeviceEnvironment
from klamp.envs.host.info_numbers import numbers_of_rows
from klamp.envs.host.interface import Transition, are_episode_numbers, by_the_run
from klamp.errors import CheckpointError
from klamp.runtime.seeding import EnvironmentSeeds


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
        seeds: EnvironmentSeeds,
    ) -> None:
        self.env, self.num_envs = env, num_envs
        self._together = together = BatchedEnvironment(environment, num_envs)
        self.observation_space, self.action_space = (
            together.observation_space,
            together.action_space,
        )
        self.policy_observation_space = together.policy_observation_space
        self._seeds = seeds
        self._resets, self._t = -1, 0
        self._key: Any = seeds.of_steps(0)
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
        self._key, self._t = self._seeds.of_steps(iteration), 0

    def reset(self) -> np.ndarray:
        """Start a new episode in each row."""
        self._resets += 1
        self._stand = self._reset(self._seeds.of_reset(self._resets))
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
        return by_the_run(self._seeds.seed)

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
