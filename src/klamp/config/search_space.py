"""What `klamp sweep` tries: for each setting an interval, or the values to choose from.

Data, and the file that it may be edited in: `klamp sweep ENV --algo NAME --print-space` prints it
as TOML, and `--space FILE` reads it back.
"""

import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from klamp.config.algorithms import ALGORITHMS
from klamp.config.presets import configure, refuse_unknown
from klamp.config.settings import Settings
from klamp.config.validation import is_number
from klamp.errors import ConfigError, closest, shown

UNSET = "unset"
"""The text for an unset setting in a file, since TOML has no null."""

NOT_TUNED = ("seed", "steps", "eval_interval", "eval_episodes", "stop_at_return")
"""Settings that all trials of a sweep have in common, so that their returns can be compared."""


@dataclass(frozen=True)
class Interval:
    """Every number from ``low`` to ``high``; integers where both are."""

    low: float
    high: float
    log: bool = False
    """Whether the interval is sampled on a logarithmic scale."""

    @property
    def integral(self) -> bool:
        """Whether only integers are in it."""
        return isinstance(self.low, int) and isinstance(self.high, int)

    def with_value(self, value: Any) -> "Interval":
        """The same, widened to contain a number."""
        if not is_number(value) or (self.log and value <= 0):
            return self
        return Interval(min(self.low, value), max(self.high, value), self.log)

    def holds(self, value: Any) -> bool:
        """Whether a value is in it."""
        return is_number(value) and self.low <= value <= self.high


@dataclass(frozen=True)
class Choice:
    """A few values; the order has no meaning."""

    values: tuple[Any, ...]

    def with_value(self, value: Any) -> "Choice":
        """The same, with another value where it is not there yet."""
        return self if self.holds(value) else Choice((*self.values, value))

    def holds(self, value: Any) -> bool:
        """Whether a value is among them."""
        return value in self.values


Space = Mapping[str, Interval | Choice]
"""What is tried, by the name of the setting."""

_STEP_SIZE = Interval(1e-5, 1e-2, log=True)
_CRITIC: Space = {
    "critic_learning_rate": Interval(1e-4, 1e-2, log=True),
    "critic_epochs": Choice((5, 10, 20)),
}
_LAMBDA: Space = {"trace_decay": Choice((0.8, 0.9, 0.95, 0.98, 1.0))}
_EPOCHS: Space = {
    "epochs": Choice((4, 10, 20)),
    "minibatch_size": Choice((32, 64, 128, 256)),
    "learning_rate": _STEP_SIZE,
    "final_learning_rate": Choice((None, 0.0)),
    "entropy_coefficient": Choice((0.0, 0.001, 0.01)),
    "max_gradient_norm": Choice((0.5, 1.0, 5.0)),
}
_NATURAL: Space = {
    "max_kl": Interval(1e-3, 1e-1, log=True),
    "damping": Interval(1e-3, 1.0, log=True),
}

SHARED: Space = {
    "rollout_length": Choice((64, 128, 256, 512)),
    "discount": Choice((0.9, 0.95, 0.98, 0.99, 0.995, 0.999)),
    "normalize_observation": Choice((False, True)),
    "normalize_reward": Choice((False, True)),
    "hidden_sizes": Choice(((32, 32), (64, 64), (128, 128))),
}
"""What is tried with every algorithm."""

OWN: dict[str, Space] = {
    "reinforce": {
        "learning_rate": Interval(1e-4, 1e-1, log=True),
        "entropy_coefficient": Choice((0.0, 0.001, 0.01)),
        **_CRITIC,
    },
    "a2c": {
        "learning_rate": Interval(1e-4, 1e-1, log=True),
        "final_learning_rate": Choice((None, 0.0)),
        "entropy_coefficient": Choice((0.0, 0.001, 0.01)),
        "max_gradient_norm": Choice((0.5, 1.0, 5.0)),
        **_LAMBDA,
    },
    "npg": {**_NATURAL, **_CRITIC, **_LAMBDA},
    "trpo": {**_NATURAL, **_CRITIC, **_LAMBDA},
    "ppo": {**_EPOCHS, "clip": Choice((0.1, 0.2, 0.3)), **_LAMBDA},
    "ppo-kl": {**_EPOCHS, "target_kl": Interval(3e-3, 3e-2, log=True), **_LAMBDA},
}
"""Further settings that are tried with an algorithm; none with one that is not here."""


def search_space(env: str, algo: str, given: Space | None = None) -> dict[str, Interval | Choice]:
    """The space of an algorithm in an environment: klamp's own, or the one given.

    Each part is widened to contain the preset's value, so that the preset can be a trial.
    """
    preset = configure(env, algo, {}).to_dict()
    space = {**SHARED, **OWN.get(algo, {})} if given is None else given
    return {name: part.with_value(held(preset[name])) for name, part in space.items()}


def held(value: object) -> Any:
    """A list of JSON as the tuple that a setting is."""
    return tuple(value) if isinstance(value, list) else value  # pyright: ignore[reportUnknownVariableType]


def as_toml(space: Space) -> str:
    """A space as a file that ``from_toml`` reads."""
    return "\n\n".join(f"[{name}]\n{_lines(part)}" for name, part in space.items()) + "\n"


def _lines(part: Interval | Choice) -> str:
    if isinstance(part, Interval):
        log = "\nlog = true" if part.log else ""
        return f"low = {part.low!r}\nhigh = {part.high!r}{log}"
    values = [UNSET if value is None else value for value in part.values]
    return f"values = {json.dumps(values)}"


def from_toml(text: str, algo: str, where: str) -> dict[str, Interval | Choice]:
    """The space of a file, ``where``. Raises ``ConfigError`` on what cannot be tried."""
    try:
        tables = tomllib.loads(text)
        return checked_space({name: _part(name, table) for name, table in tables.items()}, algo)
    except (tomllib.TOMLDecodeError, ConfigError) as error:
        raise ConfigError(
            f"The search space in {where} cannot be used: {error} docs/sweeping.md shows one."
        ) from error


def checked_space(space: Mapping[str, Any], algo: str) -> dict[str, Interval | Choice]:
    """A space whose every part can be tried. Raises ``ConfigError``."""
    kind = ALGORITHMS[algo]
    known = {item.name for of in (Settings, kind) for item in fields(of)}
    if not space:
        raise ConfigError("It has no setting.")
    for name, part in space.items():
        refuse_unknown(name, kind(), known)
        if name in NOT_TUNED:
            raise ConfigError(f"`{name}` is what all trials have in common, and cannot be tried.")
        if isinstance(part, Choice):
            _check(bool(part.values), name, part.values, "at least one value")
        elif isinstance(part, Interval):
            numbers = is_number(part.low) and is_number(part.high)
            ends = f"low = {part.low!r}, high = {part.high!r}"
            _check(numbers and part.low < part.high, name, ends, "two numbers, low below high")
            _check(not part.log or part.low > 0, name, ends, "above 0 with `log = true`")
        else:
            _check(False, name, part, "a `klamp.Interval(low, high)` or a `klamp.Choice(values)`")
    return dict(space)


def _part(name: str, table: Any) -> Interval | Choice:
    """One table of a file."""
    keys = set[str](table) if isinstance(table, dict) else set[str]()  # pyright: ignore[reportUnknownArgumentType]
    if keys == {"values"} and isinstance(table["values"], list):
        values: list[Any] = table["values"]
        return Choice(tuple(None if value == UNSET else held(value) for value in values))
    if {"low", "high"} <= keys <= {"low", "high", "log"} and isinstance(
        table.get("log", False), bool
    ):
        return Interval(**table)
    strange = sorted(keys - {"values", "low", "high", "log"})
    near = closest(strange[0], ("values", "low", "high", "log")) if strange else ""
    raise ConfigError(
        f"`{name}` is {shown(table)}. Expected `values = […]`, or `low = …` and `high = …`, with "
        f"`log = true` where factors count.{near}"
    )


def _check(condition: bool, name: str, value: Any, expected: str) -> None:
    if not condition:
        raise ConfigError(f"`{name}` is {shown(value)}, but must be {expected}.")
