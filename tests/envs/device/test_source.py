"""Environments written in JAX take arguments where their library has such, and no wrappers."""

import pytest
from jax_environments import Walk

from klamp.envs.source import resolve
from klamp.errors import ConfigError


def test_an_object_is_the_environment() -> None:
    own = Walk()
    source = resolve(own)
    assert source.device("auto") is own
    assert (source.name, source.title) == ("object:jax_environments:Walk", "Walk")
    assert source.one is None
    with pytest.raises(ConfigError, match="`vectorization` of Settings is 'sync'"):
        source.device("sync")


@pytest.mark.parametrize("env", ["gymnax:CartPole-v1", "brax:ant", "playground:X", "envpool:Y"])
def test_no_wrapper_holds_what_is_stepped_elsewhere(env: str) -> None:
    with pytest.raises(ConfigError, match=f"`{env}` cannot be wrapped in `flatten`"):
        resolve(env, wrappers=["flatten"])
