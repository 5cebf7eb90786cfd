"""From a configuration to its networks."""

import pytest

import klamp
from klamp.envs.source import resolve
from klamp.runtime.seeding import Purpose
from klamp.training.assembly import network_maker


def test_networks_of_ones_own_are_needed_again_and_only_they() -> None:
    spaces = resolve("CartPole-v1").host(1, seed=0, purpose=Purpose.CHECK)
    settings = klamp.Settings()
    with pytest.raises(klamp.ConfigError, match="built-in networks; leave `network` out"):
        network_maker(klamp.RunConfig("CartPole-v1", klamp.PPO(), settings), spaces, min)
    own = klamp.RunConfig("CartPole-v1", klamp.PPO(), settings, network="module:build")
    with pytest.raises(klamp.ConfigError, match=r"built by `module:build`.*Give that function"):
        network_maker(own, spaces, None)
    spaces.close()
