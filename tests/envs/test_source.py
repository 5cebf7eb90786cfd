"""Environments by name, in every form."""

from types import SimpleNamespace

import numpy as np
import pytest
from environments import probe
from jax_environments import CartPole, Walk

import klamp
from klamp import EnvironmentFault
from klamp.envs.host.replay import CopiedEnvironments
from klamp.envs.host.vector import VectorEnvironments
from klamp.envs.source import environment_name, environment_of, make_host, takes_vector_form
from klamp.errors import ConfigError
from klamp.runtime.seeding import Purpose


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("CartPole-v2", r"There is no environment `CartPole-v2`.*CartPole-v"),
        ("no_such_module:X-v0", "needs the module `no_such_module`"),
    ],
)
def test_unknown_environments_are_explained(name: str, message: str) -> None:
    with pytest.raises(EnvironmentFault, match=message):
        make_host(name, 1, seed=0, purpose=Purpose.CHECK)


def test_asynchronous_and_synchronous_episodes_are_the_same() -> None:
    seen = []
    for vectorization in ("sync", "async"):
        environments = make_host(
            probe(), 2, seed=5, purpose=Purpose.EPISODE, vectorization=vectorization
        )
        rows = [np.array(environments.reset())]
        for _ in range(9):
            rows.append(np.array(environments.step(np.zeros(2, int)).observation))
        environments.close()
        seen.append(np.stack(rows))
    np.testing.assert_array_equal(*seen)


def test_few_copies_are_stepped_in_turn() -> None:
    """Their vector form costs the same for any number; what has no other form keeps it."""
    for rows, kind in ((1, CopiedEnvironments), (2, CopiedEnvironments), (3, VectorEnvironments)):
        made = make_host("CartPole-v1", rows, seed=0, purpose=Purpose.EPISODE)
        assert isinstance(made, kind)
        made.close()
    only_together = SimpleNamespace(entry_point=None, vector_entry_point="here")
    assert takes_vector_form(only_together, 1, "auto")
    assert not takes_vector_form(only_together, 8, "sync")


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
