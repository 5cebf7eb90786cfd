"""What an environment's name says of where it comes from."""

import pytest

from klamp.config.environment_name import module_of, title_of


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
        ("lm:sort", None),
        ("factory:a.b:Line", "a.b"),
        ("factory:__main__:Line", None),
        ("factory:a.b:f.<locals>.Line", None),
    ],
)
def test_only_a_users_own_module_is_named(name: str, module: str | None) -> None:
    assert module_of(name) == module


def test_code_has_its_own_name_in_messages_and_folders() -> None:
    assert title_of("gymnax:CartPole-v1") == "gymnax:CartPole-v1"
    assert title_of("factory:a.b:Line") == "Line"
    assert [title_of(f"lm:{name}") for name in ("sort", "/a/b")] == ["lm:sort", "lm:b"]
    assert title_of("factory:a.b:f.<locals>.<lambda>") == "lambda"
