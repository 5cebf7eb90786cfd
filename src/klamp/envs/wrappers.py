"""Wrappers by name: the ones of Gymnasium that everybody uses, and callables of the user's own."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, NamedTuple

from klamp.config.environment_name import can_be_imported
from klamp.errors import ConfigError, closest, shown
from klamp.runtime.qualified_name import find_code, qualified_name

Wrap = Callable[[Any], Any]
"""From an environment to the environment that is stepped in its place."""


class Known(NamedTuple):
    """A wrapper that has a name."""

    wrap: Callable[[Any, Any], Any]
    """``(gymnasium.wrappers' environment, value)`` to the wrapped one."""
    kind: type[int] | type[float] | None
    """What its value is; None where it takes none."""
    default: float | None
    """The value where none is given; None where one must be."""
    help: str
    """One line."""
    env_kwargs: Mapping[str, Any] = {}
    """What the constructor of the environment is given, unless the user says otherwise."""


def _gymnasium(name: str, env: Any, *arguments: Any, **options: Any) -> Any:
    """The environment in a wrapper of Gymnasium's."""
    return getattr(import_module("gymnasium.wrappers"), name)(env, *arguments, **options)


def _bounds(most: float) -> tuple[Any, Any]:
    """±``most`` in the precision that actions have."""
    import numpy as np  # noqa: PLC0415 - the help of the command line needs none

    return np.float32(-most), np.float32(most)


def _sign(reward: Any) -> float:
    """−1, 0 or 1."""
    return float(reward > 0) - float(reward < 0)


KNOWN: dict[str, Known] = {
    "atari": Known(
        lambda env, _: _gymnasium("AtariPreprocessing", env),
        None,
        None,
        "standard preprocessing: 84 × 84 grey, every 4th frame, up to 30 idle steps at the start",
        {"frameskip": 1},
    ),
    "clip-action": Known(
        lambda env, _: _gymnasium("ClipAction", env), None, None, "actions cut to their bounds"
    ),
    "clip-reward": Known(
        lambda env, most: _gymnasium("ClipReward", env, -most, most),
        float,
        1.0,
        "rewards cut to ±VALUE (1)",
    ),
    "flatten": Known(
        lambda env, _: _gymnasium("FlattenObservation", env),
        None,
        None,
        "the observation as one vector",
    ),
    "frame-stack": Known(
        lambda env, count: _gymnasium("FrameStackObservation", env, count),
        int,
        None,
        "the last VALUE observations as one",
    ),
    "grayscale": Known(
        lambda env, _: _gymnasium("GrayscaleObservation", env), None, None, "images without colour"
    ),
    "max-and-skip": Known(
        lambda env, skip: _gymnasium("MaxAndSkipObservation", env, skip),
        int,
        4,
        "every VALUEth frame (4th), the greater of the last two",
    ),
    "repeat-action": Known(
        lambda env, count: _gymnasium("RepeatAction", env, count),
        int,
        None,
        "each action VALUE times, rewards added up",
    ),
    "rescale-action": Known(
        lambda env, most: _gymnasium("RescaleAction", env, *_bounds(most)),
        float,
        1.0,
        "actions from −VALUE to VALUE (1), stretched to their bounds",
    ),
    "resize": Known(
        lambda env, side: _gymnasium("ResizeObservation", env, (side, side)),
        int,
        None,
        "images of VALUE × VALUE pixels",
    ),
    "sign-reward": Known(
        lambda env, _: _gymnasium("TransformReward", env, _sign),
        None,
        None,
        "rewards as their sign: −1, 0 or 1",
    ),
    "sticky-action": Known(
        lambda env, chance: _gymnasium("StickyAction", env, chance),
        float,
        0.25,
        "the last action again with the probability VALUE (0.25)",
    ),
    "time-aware": Known(
        lambda env, _: _gymnasium("TimeAwareObservation", env),
        None,
        None,
        "the number of the step beside the observation; within a time limit",
    ),
    "time-limit": Known(
        lambda env, steps: _gymnasium("TimeLimit", env, steps),
        int,
        None,
        "episodes truncated after VALUE steps, if they have not ended before",
    ),
}
"""By name, in alphabetical order."""

KNOWN_IN_WORDS = "; ".join(
    f"{name}{'=VALUE' if known.kind else ''}: {known.help}" for name, known in KNOWN.items()
)
"""For the help of the command line."""


@dataclass(frozen=True)
class Wrapper:
    """A wrapper of a run."""

    name: str
    """As `config.json` records it: ``name``, ``name=value`` or ``module:name``."""
    wrap: Wrap
    env_kwargs: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """Arguments that it wants the environment to be made with."""


@dataclass(frozen=True)
class _WithValue:
    """A wrapper that has a name, with its value; can be sent to another process by name."""

    name: str
    value: float | None

    def __call__(self, env: Any) -> Any:
        return KNOWN[self.name].wrap(env, self.value)


def wrapper_of(given: object) -> Wrapper:
    """A wrapper from its name, ``name=value``, ``module:name``, or a callable ``env → env``.

    Raises ``ConfigError`` where it is none of these, or a value does not fit.
    """
    if callable(given):
        return Wrapper(qualified_name(given), given)
    if not isinstance(given, str):
        raise ConfigError(
            f"A wrapper is {shown(given)}, but must be one of the names {', '.join(KNOWN)} (as "
            "'frame-stack=4', where it has a value), or a callable that takes an environment and "
            "returns one."
        )
    if ":" in given:
        if not can_be_imported(given):
            raise ConfigError(
                f"The wrapper `{given}` was defined in a script or a function, so no file leads to "
                "it. Give it again, in Python, with all the others of the run: `wrappers=[…]`."
            )
        return Wrapper(given, find_code(given, "wrapper"))
    name, equals, text = given.partition("=")
    if name not in KNOWN:
        raise ConfigError(
            f"There is no wrapper `{name}`.{closest(name, KNOWN)} Expected one of "
            f"{', '.join(KNOWN)}, or your own as `module:name`."
        )
    value = _value(name, text if equals else None)
    return Wrapper(given, _WithValue(name, value), KNOWN[name].env_kwargs)


def wrappers_of(given: object) -> tuple[Wrapper, ...]:
    """All wrappers of a run, the innermost first."""
    if given is None:
        return ()
    if isinstance(given, str) or not isinstance(given, Sequence):
        raise ConfigError(
            f"`wrappers` is {shown(given)}, but must be a list, the innermost first, such as "
            "['time-limit=200', 'frame-stack=4', MyWrapper]."
        )
    return tuple(wrapper_of(each) for each in given)


def _value(name: str, text: str | None) -> float | None:
    """The value of a wrapper that has a name; ``ConfigError`` where it does not fit."""
    known = KNOWN[name]
    if text is None and (known.kind is None or known.default is not None):
        return known.default
    try:
        value = None if known.kind is None or text is None else known.kind(text)
    except ValueError:
        value = None
    most = 1.0 if name == "sticky-action" else float("inf")
    if value is not None and 0 < value < most:
        return value
    found = "no value" if text is None else f"the value `{text}`"
    number = "an integer ≥ 1" if known.kind is int else "a number > 0"
    number += " and < 1" if most == 1.0 else ""
    expected = "takes none" if known.kind is None else f"needs {number}, as `{name}=VALUE`"
    raise ConfigError(f"The wrapper `{name}` was given {found}, but {expected}: {known.help}.")
