"""Checks of settings, with errors that name the setting, its value and what was expected.

The type of a field says what its values may be: ``steps: Count``, ``discount: Share``. A
``Literal`` allows its words, ``Count | None`` also None.
"""

import math
from collections.abc import Callable
from dataclasses import fields
from typing import Annotated, Any, Literal, NamedTuple, get_args, get_origin

from klamp.errors import ConfigError, shown


def require(condition: bool, config: object, name: str, expected: str) -> None:
    """Raise a ``ConfigError`` that names the field, its value and what was expected."""
    if not condition:
        value = getattr(config, name)
        raise ConfigError(
            f"`{name}` of {type(config).__name__} is {shown(value)}, but must be {expected}. "
            f"Set it with `{name}=…`."
        )


def is_number(value: object) -> bool:
    """Whether a setting is a number that a float can hold (True is none)."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:
        return False


def is_integer(value: object, at_least: int) -> bool:
    """Whether a setting is an integer of that size (True is none)."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= at_least


class Allowed(NamedTuple):
    """The allowed values of a setting, in the ``Annotated`` type of its field."""

    expected: str
    """In words, after "must be"."""
    holds: Callable[[Any], bool]
    """Whether a value is one of these; it may be given anything."""


Count = Annotated[int, Allowed("an integer ≥ 1", lambda value: is_integer(value, 1))]
NotNegativeInt = Annotated[int, Allowed("an integer ≥ 0", lambda value: is_integer(value, 0))]
Finite = Annotated[float, Allowed("a finite number", is_number)]
Positive = Annotated[
    float, Allowed("a finite number > 0", lambda value: is_number(value) and value > 0)
]
NotNegative = Annotated[
    float, Allowed("a finite number ≥ 0", lambda value: is_number(value) and value >= 0)
]
Share = Annotated[
    float, Allowed("a number between 0 and 1", lambda value: is_number(value) and 0 <= value <= 1)
]


def check_fields(config: object, kind: type[Any]) -> None:
    """Check the fields that ``kind`` has, in a config of that class or of one that inherits it."""
    for item in fields(kind):
        value = getattr(config, item.name)
        optional = type(None) in get_args(item.type)
        if not (optional and value is None):
            for expected, holds in _allowed(item.type):
                require(holds(value), config, item.name, expected)


def _allowed(kind: Any) -> list[Allowed]:
    """The allowed values by the type of a field."""
    if get_origin(kind) is Literal:
        words = get_args(kind)
        return [Allowed(f"one of {', '.join(map(repr, words))}", lambda value: value in words)]
    if kind is bool:
        return [Allowed("True or False", lambda value: isinstance(value, bool))]
    if type(None) in get_args(kind):
        return [mark for part in get_args(kind) for mark in _allowed(part)]
    return [mark for mark in getattr(kind, "__metadata__", ()) if isinstance(mark, Allowed)]


def check(
    config: object,
    *,
    positive: tuple[str, ...] = (),
    not_negative: tuple[str, ...] = (),
    shares: tuple[str, ...] = (),
    counts: tuple[str, ...] = (),
    optional: tuple[str, ...] = (),
    choices: dict[str, tuple[str, ...]] | None = None,
) -> None:
    """Check a config's fields by kind; those in ``optional`` may also be None."""

    def given(name: str) -> bool:
        return not (name in optional and getattr(config, name) is None)

    for name in filter(given, positive):
        value = getattr(config, name)
        require(is_number(value) and value > 0, config, name, "a finite number > 0")
    for name in filter(given, not_negative):
        value = getattr(config, name)
        require(is_number(value) and value >= 0, config, name, "a finite number ≥ 0")
    for name in filter(given, shares):
        value = getattr(config, name)
        require(is_number(value) and 0 <= value <= 1, config, name, "a number between 0 and 1")
    for name in filter(given, counts):
        require(is_integer(getattr(config, name), 1), config, name, "an integer ≥ 1")
    for name, allowed in (choices or {}).items():
        listed = ", ".join(repr(choice) for choice in allowed)
        require(getattr(config, name) in allowed, config, name, f"one of {listed}")
