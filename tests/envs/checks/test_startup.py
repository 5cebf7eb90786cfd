"""The start-up check: whatever an environment may do wrong is found before training begins."""

from typing import Any

import gymnasium
import numpy as np
import pytest
from environments import ACTIONS, OBSERVATIONS, probe
from gymnasium import spaces

from klamp import EnvironmentFault
from klamp.config.settings import Settings
from klamp.envs.checks.startup import check_environment
from klamp.envs.source import resolve


@pytest.mark.parametrize("action", ACTIONS)
def test_sound_environments_pass_for_every_action(action: str) -> None:
    check_environment(resolve(probe("box", action)), Settings())


@pytest.mark.parametrize("observation", OBSERVATIONS)
def test_sound_environments_pass_for_every_observation(observation: str) -> None:
    check_environment(resolve(probe(observation)), Settings())


@pytest.mark.parametrize("masked", ["info", "observation"])
def test_only_allowed_actions_are_tried(masked: str) -> None:
    """The probe raises where a forbidden action is taken."""
    check_environment(resolve(probe("box", "multidiscrete", masked)), Settings())


class Broken(gymnasium.Env):
    """Sound but for one thing."""

    action_space = spaces.Discrete(2)

    def __init__(self, fault: str) -> None:
        self.fault = fault
        self.observation_space = spaces.Box(-1, 1, (2,), np.float32)
        if fault == "discrete observation":
            self.observation_space = spaces.Discrete(3)

    def _info(self) -> dict[str, Any]:
        masks = {
            "all masked": np.zeros(2),
            "mask too long": np.ones(3),
        }
        return {"action_mask": masks[self.fault]} if self.fault in masks else {}

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        if self.fault == "discrete observation":
            return 7, {}
        return np.zeros(2, np.float32), self._info()

    def step(self, action: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        if self.fault == "raises":
            raise KeyError("no such joint")
        observation = np.full(2, np.nan if self.fault == "nan observation" else 0, np.float32)
        reward = np.nan if self.fault == "nan reward" else 0.0
        return observation, reward, False, False, self._info()


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("nan observation", "`step.*step 0 after .* is nan at index"),
        ("nan reward", "The reward of `step.*step 0 after .* is nan"),
        ("raises", "raised KeyError in `step.* 'no such joint'"),
        ("discrete observation", "is 7; expected an integer from 0 to 2"),
        ("all masked", "mask of environment 0 .* at step 0 allows no action"),
        ("mask too long", "has 3 entries"),
    ],
)
def test_what_is_broken_is_named(fault: str, message: str) -> None:
    name = f"Broken-{fault.replace(' ', '-')}-v0"
    if name not in gymnasium.registry:
        gymnasium.register(name, Broken, kwargs={"fault": fault}, disable_env_checker=True)
    with pytest.raises(EnvironmentFault, match=message):
        check_environment(resolve(name), Settings())
