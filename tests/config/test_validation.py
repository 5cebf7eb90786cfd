"""Checks accept what a setting may be, and name the field, its value and the remedy otherwise."""

from dataclasses import dataclass
from typing import Any, Literal

import pytest

from klamp.config.validation import (
    Count,
    Share,
    check,
    check_fields,
    is_integer,
    is_number,
    require,
)
from klamp.errors import ConfigError


@dataclass
class Example:
    """Something with two settings."""

    size: Any = 1
    share: Any = None


@pytest.mark.parametrize("value", [0, 1.5, -3])
def test_numbers(value: Any) -> None:
    assert is_number(value)


@pytest.mark.parametrize("value", [True, "1", None, float("nan"), float("inf"), 10**400])
def test_not_numbers(value: Any) -> None:
    assert not is_number(value)


@pytest.mark.parametrize(("value", "right"), [(2, True), (1, False), (2.0, False), (True, False)])
def test_integers(value: Any, right: bool) -> None:
    assert is_integer(value, 2) is right


def test_the_error_names_field_value_and_remedy() -> None:
    with pytest.raises(ConfigError) as caught:
        require(False, Example(size=7), "size", "a number below 5")
    for part in ("`size`", "Example", "7", "a number below 5", "`size=…`"):
        assert part in str(caught.value)


def test_optional_fields_may_be_none_and_others_not() -> None:
    check(Example(), shares=("share",), optional=("share",))
    with pytest.raises(ConfigError, match="between 0 and 1"):
        check(Example(), shares=("share",))


@pytest.mark.parametrize(
    ("kind", "bad"),
    [("positive", 0), ("not_negative", -1), ("shares", 1.1), ("counts", 0), ("counts", 1.0)],
)
def test_each_kind_refuses(kind: str, bad: Any) -> None:
    with pytest.raises(ConfigError, match="`size` of Example"):
        check(Example(size=bad), **{kind: ("size",)})


def test_choices() -> None:
    check(Example(size="a"), choices={"size": ("a", "b")})
    with pytest.raises(ConfigError, match="one of 'a', 'b'"):
        check(Example(size="c"), choices={"size": ("a", "b")})


@dataclass
class Typed:
    """Settings whose types say what they may be."""

    size: Count = 1
    share: Share | None = None
    kind: Literal["a", "b"] = "a"
    free: Any = None


def test_the_type_of_a_field_is_its_check() -> None:
    check_fields(Typed(size=3, share=0.5, kind="b", free=object()), Typed)
    for name, bad, expected in (
        ("size", 0, "an integer ≥ 1"),
        ("size", None, "an integer ≥ 1"),
        ("share", 2, "a number between 0 and 1"),
        ("kind", "c", "one of 'a', 'b'"),
    ):
        with pytest.raises(
            ConfigError, match=f"`{name}` of Typed is {bad!r}, but must be {expected}"
        ):
            check_fields(Typed(**{name: bad}), Typed)
