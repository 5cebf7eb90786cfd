"""Registered ids, classes and functions: what they make, and when their vector form is used."""

from typing import Any

import gymnasium
import numpy as np
import pytest
from own_environments import Doubled, Line, made

from klamp.envs.host.vector import VectorEnvironments
from klamp.envs.source import resolve
from klamp.errors import ConfigError, EnvironmentFault
from klamp.runtime.seeding import EnvironmentSeeds, Purpose


def host(env: Any, *, rows: int = 3, vectorization: str = "auto", **given: Any) -> Any:
    source = resolve(env, given.get("env_kwargs"), given.get("wrappers"))
    return source.host(rows, EnvironmentSeeds(0, Purpose.EPISODE), vectorization=vectorization)


def walked(environments: Any) -> list[np.ndarray]:
    """What some steps show and pay."""
    seen = [np.array(environments.reset())]
    for t in range(8):
        after = environments.step(np.full(environments.num_envs, t % 2))
        seen += [np.array(after.observation), np.array(after.reward)]
    environments.close()
    return seen


@pytest.mark.parametrize("env", [Line, made, lambda length=3: Line(length)])
def test_workers_step_what_this_process_would(env: Any) -> None:
    given = {
        "env_kwargs": {"length": 4},
        "wrappers": [Doubled, lambda env, kind=Doubled: kind(env)],
    }
    here, there = (walked(host(env, vectorization=v, **given)) for v in ("sync", "async"))
    for ours, theirs in zip(here, there, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert here[0][0, 1] == 4
    assert np.all(here[2] % 4 == 0)


def test_the_vector_form_is_taken_where_it_is_the_same() -> None:
    plain = resolve("CartPole-v1")
    assert plain.together(3, "auto")
    assert not plain.together(2, "auto")
    assert not plain.together(3, "sync")
    assert not resolve("CartPole-v1", wrappers=["time-limit=9"]).together(3, "auto")
    assert resolve("CartPole-v1", {"sutton_barto_reward": True}).together(3, "auto")
    assert not resolve("CartPole-v1", {"unknown_there": 1}).together(3, "auto")
    assert not resolve("CartPole-v1", {"num_envs": 1}).together(3, "auto")


def test_arguments_reach_the_vector_form() -> None:
    environments = host("CartPole-v1", env_kwargs={"sutton_barto_reward": True})
    assert isinstance(environments, VectorEnvironments)
    environments.reset()
    assert not environments.step(np.zeros(3, int)).reward.any()
    environments.close()


@pytest.mark.parametrize("rows", [1, 3])
def test_a_time_limit_may_be_an_argument(rows: int) -> None:
    environments = host("CartPole-v1", rows=rows, env_kwargs={"max_episode_steps": 2})
    environments.reset()
    ends = [environments.step(np.zeros(rows, int)).truncated.all() for _ in range(2)]
    assert ends == [False, True]
    environments.close()


def test_names_and_arguments_are_what_is_recorded() -> None:
    source = resolve(Line, {"length": 4}, ["time-limit=9", Doubled])
    assert source.name == "factory:own_environments:Line"
    assert source.title == "Line"
    assert source.env_kwargs == {"length": 4}
    assert source.wrappers == ("time-limit=9", "own_environments:Doubled")
    assert source.one is not None
    assert source.one.call == "Line(length=4)"
    assert resolve("CartPole-v1", {"a": 1}).one.call == "gymnasium.make('CartPole-v1', a=1)"


def test_a_wrapper_may_want_an_argument_and_the_user_decides() -> None:
    gymnasium.register("Skipping-v0", lambda frameskip=4: Line(frameskip))
    try:
        source = resolve("Skipping-v0", wrappers=["atari"])
        assert source.recipe.spec.kwargs == {"frameskip": 1}
        own = resolve("Skipping-v0", {"frameskip": 2}, ["atari"])
        assert own.recipe.spec.kwargs == {"frameskip": 2}
        assert source.env_kwargs == {}, "what nobody gave is not recorded"
    finally:
        gymnasium.registry.pop("Skipping-v0")


def test_an_environment_in_jax_is_wrapped_on_the_host_only() -> None:
    wrapped = resolve("phys2d/CartPole-v1", wrappers=["time-limit=9"])
    with pytest.raises(ConfigError, match="`vectorization='sync'`"):
        wrapped.device("auto")
    assert wrapped.device("sync") is None


def test_atari_says_what_to_install() -> None:
    with pytest.raises(EnvironmentFault, match=r"`ALE/Pong-v5` needs .*pip install '\.\[atari\]'"):
        resolve("ALE/Pong-v5").together(1, "auto")
