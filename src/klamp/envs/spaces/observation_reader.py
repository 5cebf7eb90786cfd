"""From the environments' observations to arrays and action masks."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from klamp.envs import MASK_KEY
from klamp.envs.spaces.masks import ActionMasks
from klamp.envs.spaces.observations import (
    host_encoder,
    masks_in_observation,
    policy_observation_space,
)
from klamp.envs.spaces.supported import Space


class ObservationReader:
    """Turns the observations of N environments into arrays, with their action masks."""

    def __init__(
        self, env: str, observation_space: Space, action_space: Space, num_envs: int
    ) -> None:
        self._env, self._action_space, self._num_envs = env, action_space, num_envs
        self.space = policy_observation_space(observation_space)
        self._encode = host_encoder(observation_space)
        self._in_observation = masks_in_observation(observation_space)
        self.masks: ActionMasks | None = None
        self._steps = 0

    @property
    def plain(self) -> bool:
        """Whether observations need no conversion and have no masks."""
        return self._encode is None and self.masks is None

    def first(self, raw: Any, told: Sequence[Any]) -> np.ndarray:
        """The observations of the first reset, which decide whether there are masks."""
        if self._in_observation or any(mask is not None for mask in told):
            self.masks = ActionMasks(self._env, self._action_space, self._num_envs)
        return self.see(raw, told, np.zeros(self._num_envs, bool))

    def see(self, raw: Any, told: Sequence[Any], ended: np.ndarray) -> np.ndarray:
        """Observations as arrays; ``told`` holds each environment's mask, from its info.

        An environment that has ``ended`` ignores the next action: its mask is not checked.
        """
        if self.masks is not None:
            self.masks.begin()
            self.masks.read(raw[MASK_KEY]) if self._in_observation else self.masks.read_rows(told)
            self.masks.settle(self._steps, ended)
        return self.encode(raw)

    def encode(self, raw: Any) -> np.ndarray:
        """Observations as arrays."""
        return raw if self._encode is None else self._encode(raw)

    def count_step(self) -> None:
        """Count a step; errors name its number."""
        self._steps += 1
