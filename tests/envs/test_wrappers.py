"""Wrappers by name are Gymnasium's own; callables are called."""

from typing import Any

import cloudpickle
import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from own_environments import Doubled, Line

from klamp.envs.wrappers import KNOWN, wrapper_of, wrappers_of
from klamp.errors import ConfigError

VALUES = {int: "2", float: "0.5"}


class Picture(gymnasium.Env):
    """Shows a coloured image, takes a force and pays 7."""

    metadata = {"render_modes": []}  # noqa: RUF012
    observation_space = spaces.Box(0, 255, (8, 8, 3), np.uint8)
    action_space = spaces.Box(-2.0, 2.0, (1,), np.float32)

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self.taken: list[float] = []
        return self.observation_space.sample(), {}

    def step(self, action: Any) -> Any:
        self.taken.append(float(action[0]))
        return self.observation_space.sample(), 7.0, False, False, {}


def stepped(*names: str, action: float = 0.0) -> tuple[Any, Any, Picture]:
    """A wrapped picture, and what its first step returned."""
    env: Any = Picture()
    for wrapper in wrappers_of(names):
        env = wrapper.wrap(env)
    env.reset(seed=0)
    return env, env.step(np.array([action], np.float32)), env.unwrapped


def test_each_name_does_what_it_says() -> None:
    assert stepped("flatten")[0].observation_space.shape == (192,)
    assert stepped("grayscale")[0].observation_space.shape == (8, 8)
    assert stepped("grayscale", "frame-stack=4")[0].observation_space.shape == (4, 8, 8)
    assert stepped("clip-reward")[1][1] == 1.0
    assert stepped("clip-reward=0.5")[1][1] == 0.5
    assert stepped("sign-reward")[1][1] == 1.0
    assert stepped("time-limit=1")[1][3] is True
    assert stepped("time-limit=2")[1][3] is False
    assert stepped("clip-action", action=9.0)[2].taken == [2.0]
    assert stepped("rescale-action", action=0.5)[2].taken == [1.0]
    assert stepped("rescale-action=0.5", action=0.5)[2].taken == [2.0]
    assert stepped("repeat-action=3", action=1.0)[1][1] == 21.0
    assert len(stepped("max-and-skip=4")[2].taken) == 4
    assert stepped("max-and-skip")[1][1] == 28.0
    limited = wrapper_of("time-limit=9").wrap(Line())
    assert wrapper_of("time-aware").wrap(limited).observation_space.shape == (3,)
    assert wrapper_of("atari").env_kwargs == {"frameskip": 1}


def test_the_first_is_the_innermost() -> None:
    env, after, _ = stepped("clip-reward=2", "repeat-action=3")
    assert after[1] == 6.0
    assert isinstance(env, gymnasium.wrappers.RepeatAction)


def test_callables_are_recorded_by_name_and_found_by_it() -> None:
    for given in (Doubled, "own_environments:Doubled"):
        wrapper = wrapper_of(given)
        assert wrapper.name == "own_environments:Doubled"
        assert isinstance(wrapper.wrap(Line()), Doubled)
    own = wrapper_of(lambda env: env)
    with pytest.raises(ConfigError, match=r"was defined in a script.*Give it again"):
        wrapper_of(own.name)


def test_every_wrapper_can_be_sent_to_another_process() -> None:
    for name, known in KNOWN.items():
        wrapper = wrapper_of(f"{name}={VALUES[known.kind]}" if known.kind else name)
        assert cloudpickle.loads(cloudpickle.dumps(wrapper)) == wrapper


@pytest.mark.parametrize(
    "wrong",
    ["frame-stack", "frame-stack=0", "frame-stack=2.5", "clip-reward=0", "clip-reward=nan",
     "clip-reward=inf", "sticky-action=1", "flatten=1", "nothing-such", "", 3, None],
)  # fmt: skip
def test_what_does_not_fit_is_refused(wrong: Any) -> None:
    with pytest.raises(ConfigError):
        wrapper_of(wrong)
