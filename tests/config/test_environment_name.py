"""What an environment's name says of where it comes from."""

import pytest

from klamp.config.environment_name import module_of


@pytest.mark.parametrize(
    ("name", "module"),
    [
        ("CartPole-v1", None),
        ("my_module:Thing-v0", "my_module"),
        ("a.b:Thing-v0", "a.b"),
        ("envpool:HalfCheetah-v5", None),
        ("gymnax:CartPole-v1", None),
        ("brax:ant", None),
        ("playground:CartpoleBalance", None),
        ("object:tests:Walk", None),
    ],
)
def test_only_a_users_own_module_is_named(name: str, module: str | None) -> None:
    assert module_of(name) == module
