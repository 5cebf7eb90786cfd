"""Which environment a run has, by name or as an object."""

import pytest
from jax_environments import CartPole, Walk

import klamp
from klamp.envs.source import environment_name, environment_of
from klamp.errors import ConfigError


def test_objects_have_names_and_are_needed_again() -> None:
    own, other = CartPole(), Walk()
    name = environment_name(own)
    assert name == "object:jax_environments:CartPole"
    assert environment_name("CartPole-v1") == "CartPole-v1"
    config = klamp.RunConfig(name, klamp.PPO(), klamp.Settings())
    assert environment_of(config, own) is own
    with pytest.raises(ConfigError, match="Give it again"):
        environment_of(config)
    with pytest.raises(ConfigError, match="run's own class"):
        environment_of(config, other)
    by_id = klamp.RunConfig("CartPole-v1", klamp.PPO(), klamp.Settings())
    assert environment_of(by_id) == "CartPole-v1"
    with pytest.raises(ConfigError, match="leave it out"):
        environment_of(by_id, own)
