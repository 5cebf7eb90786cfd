"""Images that cost next to nothing to show: what is measured is what learns from them."""

from typing import Any

import gymnasium as gym
import numpy as np

SHAPE = (84, 84, 4)
"""Four grey frames, as Atari is shown to a policy."""
LENGTH = 200


class NoiseImages(gym.Env[np.ndarray, np.int64]):
    """Images drawn once; the reward is 1 where the action is that of the image."""

    observation_space = gym.spaces.Box(0, 255, SHAPE, np.uint8)
    action_space = gym.spaces.Discrete(6)

    def __init__(self) -> None:
        generator = np.random.default_rng(0)
        self._images = generator.integers(0, 256, (16, *SHAPE), dtype=np.uint8)
        self._step = 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Begin with an image drawn from the seed."""
        super().reset(seed=seed)
        self._step, self._shown = 0, int(self.np_random.integers(16))
        return self._images[self._shown].copy(), {}

    def step(self, action: np.int64) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """The next image."""
        reward = float(int(action) == self._shown % 6)
        self._step, self._shown = self._step + 1, (self._shown + 7) % 16
        return self._images[self._shown].copy(), reward, self._step >= LENGTH, False, {}


gym.register("NoiseImages-v0", entry_point=NoiseImages)
