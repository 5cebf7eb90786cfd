"""Checks of settings, with errors that name the setting, its value and what was expected."""

import math
from typing import Any

from klamp.errors import ConfigError, shown


def require(condition: bool, config: Any, name: str, expected: str) -> None:
    """Raise a ``ConfigError`` that names the field, its value and what was expected."""
    if not condition:
        value = getattr(config, name)
        option = "--" + name.replace("_", "-")
        raise ConfigError(
            f"`{name}` of {type(config).__name__} is {shown(value)}, but must be {expected}. "
            f"Set it with `{name}=…` in Python or `{option} …` on the command line."
        )


def is_number(value: Any) -> bool:
    """Whether a setting is a number that a float can hold (True is none)."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:
        return False


def is_integer(value: Any, at_least: int) -> bool:
    """Whether a setting is an integer of that size (True is none)."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= at_least


def check(
    config: Any,
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
