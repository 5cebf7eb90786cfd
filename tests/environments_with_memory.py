"""An environment whose best action depends on what was seen at the start."""

import gymnasium
import numpy as np


class Recall(gymnasium.Env):
    """A bit is shown at the first step; naming it at the fourth pays 1."""

    observation_space = gymnasium.spaces.Box(-1, 1, (2,), np.float32)
    action_space = gymnasium.spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.bit, self.time = int(self.np_random.integers(2)), 0
        return np.array([2 * self.bit - 1, 1], np.float32), {}

    def step(self, action):
        self.time += 1
        ended = self.time >= 4
        reward = float(ended and action == self.bit)
        return np.zeros(2, np.float32), reward, ended, False, {}
