"""CartPole with what befalls long runs: slow steps, and numbers that are none."""

import time
from typing import Any

import gymnasium
import numpy as np
from gymnasium.envs.classic_control.cartpole import CartPoleEnv

NAN_STEPS = 100_000
"""One observation in so many steps is NaN, and one reward."""
SLOW_STEPS, SLOW_S = 10_000, 0.1

TROUBLED, CALM = "SoakTroubled-v0", "SoakCalm-v0"


class Troubled(CartPoleEnv):
    """CartPole; its troubles are drawn from the episode's own generator, so a replay has them."""

    def __init__(self, leak_bytes: int = 0) -> None:
        super().__init__()
        self._leak_bytes, self._leaked = leak_bytes, list[bytes]()

    def reset(self, **options: Any) -> tuple[Any, dict[str, Any]]:
        """Begin an episode, and keep some memory for ever where a leak is planted."""
        if self._leak_bytes:
            self._leaked.append(bytes(bytearray(b"x" * self._leak_bytes)))
        return super().reset(**options)

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """CartPole's step, slow or poisoned now and then."""
        observation, reward, terminated, truncated, info = super().step(action)
        slow, unseen, unpaid = self.np_random.random(3)
        if slow < 1 / SLOW_STEPS:
            time.sleep(SLOW_S)
        if unseen < 1 / NAN_STEPS:
            observation = np.full_like(observation, np.nan)
        if unpaid < 1 / NAN_STEPS:
            reward = float("nan")
        return observation, float(reward), terminated, truncated, info


def register(leak_bytes: int = 0) -> None:
    """The troubled environment, and a calm one for evaluation."""
    options: dict[str, Any] = {"max_episode_steps": 500, "disable_env_checker": True}
    leak = {"leak_bytes": leak_bytes}
    gymnasium.register(TROUBLED, "troubled:Troubled", kwargs=leak, **options)
    gymnasium.register(CALM, "gymnasium.envs.classic_control.cartpole:CartPoleEnv", **options)
