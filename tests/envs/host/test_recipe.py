"""Copies are made from a specification, arguments and wrappers; what keeps one is explained."""

import pytest
from gymnasium.envs.registration import EnvSpec
from own_environments import Doubled, Line

from klamp.envs.host.recipe import Recipe, arguments
from klamp.envs.wrappers import wrapper_of
from klamp.errors import EnvironmentFault


def recipe(kwargs: dict, *wrappers: object) -> Recipe:
    wrapped = tuple(map(wrapper_of, wrappers))
    return Recipe("Line", EnvSpec("Line", Line, kwargs=kwargs), wrapped, "Line()")


def test_a_copy_has_its_arguments_and_wrappers() -> None:
    first, second = (recipe({"length": 9}, Doubled)() for _ in range(2))
    assert isinstance(first, Doubled)
    assert first.unwrapped.length == 9
    assert first.unwrapped is not second.unwrapped


class Longer(Line):
    def __init__(self, extra: int = 0, **handed_on: int) -> None:
        super().__init__(**handed_on)


def test_the_arguments_are_those_of_all_that_is_handed_on_to() -> None:
    assert arguments(Line) == ["length", "pull", "label"]
    assert arguments(Longer) == ["extra", "length", "pull", "label"]
    assert arguments(lambda size, *, render_mode=None: size) == ["size"]
    assert arguments("own_environments:made") == ["length"]


def test_a_wrong_name_is_answered_with_the_right_ones() -> None:
    with pytest.raises(EnvironmentFault, match=r"no argument `lenght`. Did you mean `length`\?"):
        recipe({"lenght": 9}).made()


@pytest.mark.parametrize(
    ("wrapper", "message"),
    [
        (
            lambda env: None,
            r"The wrapper `.*` of `Line` returned NoneType; expected",
        ),
        (lambda env: 1 / 0, "ZeroDivisionError.*and its wrappers: `"),
    ],
)
def test_a_wrapper_that_fails_is_named(wrapper: object, message: str) -> None:
    with pytest.raises(EnvironmentFault, match=message):
        recipe({}, wrapper).made()
