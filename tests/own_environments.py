"""An environment of a user's own, which is registered nowhere, and wrappers for it."""

import contextlib
import time
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces


class Line(gymnasium.Env):
    """Walk along a line of ``length`` places, from a random one, ``pull`` rewarding each step."""

    metadata = {"render_modes": []}  # noqa: RUF012
    action_space = spaces.Discrete(2)

    def __init__(self, length: int = 5, pull: float = 1.0, label: str = "") -> None:
        self.length, self.pull, self.label = length, pull, label
        self.observation_space = spaces.Box(0, length, (2,), np.float32)

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.at, self.steps = int(self.np_random.integers(self.length)), 0
        return self._see(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.at, self.steps = self.at + (1 if action else -1), self.steps + 1
        ended = not 0 <= self.at < self.length
        return self._see(), self.pull * self.at, ended, self.steps == 20, {}

    def _see(self) -> np.ndarray:
        return np.array([np.clip(self.at, 0, self.length), self.length], np.float32)


class Doubled(gymnasium.RewardWrapper):
    """Every reward twice."""

    def reward(self, reward: Any) -> float:
        return 2.0 * float(reward)


class Slow(Line):
    """Never answers ``step``."""

    def step(self, action: Any) -> Any:
        while True:
            with contextlib.suppress(Exception):
                time.sleep(3600)


def made(length: int = 3) -> Line:
    """A function that makes one."""
    return Line(length)
