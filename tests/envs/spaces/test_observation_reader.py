"""Observations pass one reader, whatever their space."""

import gymnasium
import numpy as np
import pytest
from environments import Count
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from klamp.envs.host.interface import HostEnvironments
from klamp.envs.host.replay import CopiedEnvironments
from klamp.envs.host.serial import LocalCopies
from klamp.envs.host.vector import VectorEnvironments
from klamp.runtime.seeding import EnvironmentSeeds, Purpose

LENGTHS = (3, 5)
MODES = [AutoresetMode.DISABLED, AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP]


def hosted(mode: AutoresetMode, makers: list) -> HostEnvironments:
    """Environments that we reset, or a vector environment that resets its rows itself."""
    if mode == AutoresetMode.DISABLED:
        copies = LocalCopies([make() for make in makers])
        return CopiedEnvironments(copies, "Count", EnvironmentSeeds(11, Purpose.EPISODE))
    vector = SyncVectorEnv(makers, autoreset_mode=mode, copy=False)
    return VectorEnvironments(vector, "Count", EnvironmentSeeds(11, Purpose.EPISODE))


@pytest.mark.parametrize("mode", MODES)
def test_final_observations_of_dicts_are_the_true_ones(mode: AutoresetMode) -> None:
    """The same episodes, through a Dict that the door flattens."""

    class Wrapped(gymnasium.ObservationWrapper):
        def __init__(self, env: gymnasium.Env) -> None:
            super().__init__(env)
            self.observation_space = spaces.Dict(
                {"all": env.observation_space, "n": spaces.Discrete(9)}
            )

        def observation(self, observation: np.ndarray) -> dict:
            return {"all": observation, "n": int(observation[1])}

    makers = [lambda n=n: Wrapped(Count(n)) for n in LENGTHS]
    environments = hosted(mode, makers)
    current = environments.reset()
    assert current.shape == (2, 11)
    for _ in range(12):
        after = environments.step(np.zeros(2, int))
        for i in np.flatnonzero(after.valid):
            step = int(current[i, 1]) + 1
            assert after.next_observation[i, 1] == step
            assert after.next_observation[i, 2:].argmax() == step
            assert after.next_observation[i, 0] == current[i, 0]
        current = after.observation
    environments.close()
