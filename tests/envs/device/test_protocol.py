"""What counts as an environment written in JAX."""

import gymnasium
from jax_environments import CartPole

from klamp.envs.device.protocol import DeviceEnvironment, is_device_environment


def test_gymnasiums_environments_are_none() -> None:
    assert isinstance(CartPole(), DeviceEnvironment)
    assert is_device_environment(CartPole())
    assert not is_device_environment(gymnasium.make("CartPole-v1"))
    assert not is_device_environment(CartPole)
    assert not is_device_environment("CartPole-v1")
