"""Environments by name, in every form."""

from typing import Any

import gymnasium
import numpy as np
import pytest
from environments import probe
from jax_environments import CartPole, Walk
from own_environments import Doubled, Line

import klamp
from klamp import ConfigError, EnvironmentFault
from klamp.envs.host.replay import CopiedEnvironments
from klamp.envs.host.vector import VectorEnvironments
from klamp.envs.source import resolve, source_of, source_to_evaluate
from klamp.runtime.seeding import EnvironmentSeeds, Purpose


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("CartPole-v2", r"There is no environment `CartPole-v2`.*CartPole-v"),
        ("no_such_module:X-v0", "needs the module `no_such_module`"),
    ],
)
def test_unknown_environments_are_explained(name: str, message: str) -> None:
    with pytest.raises(EnvironmentFault, match=message):
        resolve(name).host(1, EnvironmentSeeds(0, Purpose.CHECK))


def test_asynchronous_and_synchronous_episodes_are_the_same() -> None:
    seen = []
    for vectorization in ("sync", "async"):
        environments = resolve(probe()).host(
            2, EnvironmentSeeds(5, Purpose.EPISODE), vectorization=vectorization
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
        made = resolve("CartPole-v1").host(rows, EnvironmentSeeds(0, Purpose.EPISODE))
        assert isinstance(made, kind)
        made.close()
    assert resolve("CartPole-v1").together(8, "auto")
    assert not resolve("CartPole-v1").together(8, "sync")


def config(env: str, **given: Any) -> klamp.RunConfig:
    return klamp.RunConfig(env, klamp.PPO(), klamp.Settings(), **given)


def test_objects_have_names_and_are_needed_again() -> None:
    own, other = CartPole(), Walk()
    name = resolve(own).name
    assert name == "object:jax_environments:CartPole"
    assert resolve("CartPole-v1").name == "CartPole-v1"
    assert source_of(config(name), own).device("auto") is own
    with pytest.raises(ConfigError, match="Give it again"):
        source_of(config(name))
    with pytest.raises(ConfigError, match="run's own class"):
        source_of(config(name), other)
    assert source_of(config("CartPole-v1")).name == "CartPole-v1"
    with pytest.raises(ConfigError, match="leave it out"):
        source_of(config("CartPole-v1"), own)


def test_what_can_be_imported_is_found_and_what_not_is_needed_again() -> None:
    assert source_of(config("factory:own_environments:Line")).one().length == 5
    for name in ("factory:__main__:Line", "factory:own_environments:f.<locals>.Line"):
        with pytest.raises(ConfigError, match=r"made by code of a script.*Give it again"):
            source_of(config(name))
    # What ran as a script may be imported from it, and the other way round.
    assert source_of(config("factory:__main__:Line"), Line).one().length == 5
    with pytest.raises(ConfigError, match="run's own class"):
        source_of(config("factory:__main__:Other"), Line)
    with pytest.raises(ConfigError, match="run's own class"):
        source_of(config("factory:elsewhere:Line"), Line)


def test_the_runs_own_wrappers_are_needed_in_their_order() -> None:
    run = config("CartPole-v1", wrappers=("flatten", "own_environments:Doubled"))
    assert source_of(run).wrappers == run.wrappers
    assert source_of(run, wrappers=["flatten", Doubled]).wrappers == run.wrappers
    for others in ([], [Doubled, "flatten"], ["flatten"]):
        with pytest.raises(ConfigError, match="Give the run's own, in their order"):
            source_of(run, wrappers=others)


def test_a_policy_acts_in_the_runs_own_but_for_what_is_given() -> None:
    run = config("factory:own_environments:Line", env_kwargs={"length": 7}, wrappers=("flatten",))
    for env, env_kwargs, wrappers, expected in (
        (None, None, None, ({"length": 7}, ("flatten",))),
        (Line, None, None, ({"length": 7}, ("flatten",))),
        (None, {"length": 9}, [], ({"length": 9}, ())),
        ("CartPole-v1", None, None, ({}, ("flatten",))),
        (gymnasium.make("CartPole-v1"), None, None, ({}, ())),
    ):
        source = source_to_evaluate(run, env, env_kwargs, wrappers)
        assert (source.env_kwargs, source.wrappers) == expected
