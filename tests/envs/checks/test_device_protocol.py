"""Faults of environments written in JAX are named before a step is taken."""

from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium import spaces
from jax_environments import CartPole, Masked, Walk

import klamp
from klamp.envs.checks.device_protocol import check_protocol
from klamp.envs.checks.startup import check_environment
from klamp.envs.device.protocol import DeviceStep
from klamp.envs.source import resolve
from klamp.errors import EnvironmentFault

SMALL = klamp.Settings(steps=64, num_envs=2, rollout_length=32)


class Python(CartPole):
    def step(self, key: Any, state: Any, action: Any) -> DeviceStep:
        after = super().step(key, state, action)
        return after._replace(reward=1.0 if after.terminated else 0.0)


class Swapped(CartPole):
    def reset(self, key: Any) -> Any:
        return super().reset(key)[1]


class Five(CartPole):
    def step(self, key: Any, state: Any, action: Any) -> Any:
        return tuple(super().step(key, state, action))


class Grows(CartPole):
    def step(self, key: Any, state: Any, action: Any) -> DeviceStep:
        after = super().step(key, state, action)
        return after._replace(state=(after.state, after.state))


class Counts(CartPole):
    """Its state begins with an integer where a step leaves a fraction, which would be cut off."""

    def reset(self, key: Any) -> Any:
        state, observation = super().reset(key)
        return state._replace(physics=jnp.zeros(4, jnp.int32)), observation


class Rewards(CartPole):
    def step(self, key: Any, state: Any, action: Any) -> DeviceStep:
        return super().step(key, state, action)._replace(reward=jnp.ones(2))


class Short(CartPole):
    observation_space = spaces.Box(-9, 9, (3,), np.float32)


class Image(CartPole):
    action_space = spaces.Text(3)


FAULTS = {
    Python: "cannot be traced by JAX",
    Swapped: "expected the two of `state, observation`",
    Five: "expected `klamp.DeviceStep",
    Grows: "built otherwise",
    Counts: "expected the same shape and dtype",
    Rewards: "expected one value",
    Short: "observation space says",
    Image: "The action of",
}


@pytest.mark.parametrize("kind", FAULTS)
def test_faults(kind: type) -> None:
    with pytest.raises(EnvironmentFault, match=FAULTS[kind]) as caught:
        check_environment(resolve(kind()), SMALL)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize("kind", [CartPole, Walk, Masked])
def test_sound_ones_pass_and_repeat_themselves(kind: type) -> None:
    assert check_environment(resolve(kind()), SMALL).repeats


def test_the_example_of_the_documentation_is_sound() -> None:
    page = (Path(__file__).parents[3] / "docs" / "jax-environments.md").read_text()
    code = page.split("```python\n")[1].split("```")[0].split("result = ")[0]
    names: dict[str, Any] = {"__name__": "example"}
    exec(code, names)
    check_protocol("Reach", names["Reach"]())


def test_what_is_not_finite_at_once_is_a_fault() -> None:
    class Nowhere(CartPole):
        def step(self, key: Any, state: Any, action: Any) -> DeviceStep:
            return super().step(key, state, action)._replace(reward=jnp.nan)

    with pytest.raises(EnvironmentFault, match="expected one finite number"):
        check_environment(resolve(Nowhere()), SMALL)
