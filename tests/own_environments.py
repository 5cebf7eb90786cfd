"""An environment of a user's own, which is registered nowhere, and wrappers for it."""

import contextlib
import time
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space


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


class Race(VectorEnv):
    """Rows that walk along a line as ``Line`` does, in any of the three modes of autoreset."""

    def __init__(self, num_envs: int = 3, mode: str = "NEXT_STEP", length: int = 5) -> None:
        self.mode = AutoresetMode[mode]
        self.metadata = {"autoreset_mode": self.mode}
        self.num_envs, self.length = num_envs, length
        self.single_observation_space = spaces.Box(0, length, (2,), np.float32)
        self.single_action_space = spaces.Discrete(2)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self.at, self.over = np.zeros(num_envs, int), np.zeros(num_envs, bool)

    def reset(self, *, seed: Any = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self._begin((options or {}).get("reset_mask", np.ones(self.num_envs, bool)))
        return self._see(), {}

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        began = self.over & (self.mode == AutoresetMode.NEXT_STEP)
        self.at = self.at + np.where(began, 0, np.where(actions, 1, -1))
        reward = np.where(began, 0.0, self.at)
        self._begin(began)
        ended = ~began & ((self.at < 0) | (self.at >= self.length))
        self.over = ended.copy()
        seen, info = self._see(), {}
        if self.mode == AutoresetMode.SAME_STEP and ended.any():
            info["final_obs"] = np.array([*seen, None], object)[:-1]
            self._begin(ended)
            seen = self._see()
        return seen, reward, ended, np.zeros(self.num_envs, bool), info

    def _begin(self, rows: np.ndarray) -> None:
        self.at = np.where(rows, self.np_random.integers(self.length, size=self.num_envs), self.at)
        self.over = self.over & ~rows

    def _see(self) -> np.ndarray:
        place = np.clip(self.at, 0, self.length)
        return np.stack([place, np.full_like(place, self.length)], 1).astype(np.float32)


class Forgetful(Race):
    """Keeps its places where nobody finds them."""

    @property
    def at(self) -> np.ndarray:
        return self.hidden["at"]

    @at.setter
    def at(self, value: np.ndarray) -> None:
        self.hidden = {"at": value}


def race(num_envs: int, length: int = 5) -> Race:
    """A function that makes all rows at once."""
    return Race(num_envs, length=length)
