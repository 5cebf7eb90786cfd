"""What an environment returned as an observation, compared with its observation space.

Casts that lose at most a rounding error are accepted, as by the arrays it is copied into: any real
number into floats, integers into integers that can hold the value. Everything else is a fault:
lists, tensors, masked arrays, floats for integers, what is out of range or not finite.
"""

from typing import Any

import numpy as np
from gymnasium import spaces

from klamp.envs.spaces.supported import Space
from klamp.errors import EnvironmentFault

EXACT = 2**24
"""Up to this every integer is exact in float32."""
INTEGERS = {"i", "u", "b"}


def check_sample(space: Space, value: Any, where: str, name: str = "The observation") -> list[str]:
    """Raise ``EnvironmentFault`` where ``value`` cannot stand for a sample of ``space``.

    The message begins with ``name``, which part it is, and ``where`` that was seen. Returns what is
    unusual but harmless.
    """
    what = f"{name} {where}"
    match space:
        case spaces.Dict():
            _check_keys(space, value, what)
            parts = list(space.spaces.items())
        case spaces.Tuple():
            _check_length(space, value, what)
            parts = list(enumerate(space.spaces))
        case spaces.Discrete():
            return _check_discrete(space, value, what)
        case _:
            return _check_array(space, value, what)
    return [
        note
        for key, part in parts
        for note in check_sample(part, value[key], where, f"{name}[{key!r}]")
    ]


def _check_keys(space: spaces.Dict, value: Any, what: str) -> None:
    expected = list(space.spaces)
    if not isinstance(value, dict):
        raise EnvironmentFault(
            f"{what} is {a_kind(value)}; expected a dict with the keys {expected}, as its space "
            "says."
        )
    missing, extra = (
        [key for key in expected if key not in value],
        [key for key in value if key not in space.spaces],
    )
    if missing or extra:
        lacking = f"; missing: {missing}" if missing else ""
        beyond = f"; not in it: {extra}" if extra else ""
        raise EnvironmentFault(
            f"{what} has the keys {list(value)}, but its space says {expected}{lacking}{beyond}. "
            "Return all of them, and no others, at each step."
        )


def _check_length(space: Any, value: Any, what: str) -> None:
    length = len(space.spaces)
    if not isinstance(value, tuple) or len(value) != length:
        found = f"a tuple of {len(value)}" if isinstance(value, tuple) else a_kind(value)
        raise EnvironmentFault(
            f"{what} is {found}; expected a tuple of {length}, as its space says."
        )


def _check_discrete(space: spaces.Discrete, value: Any, what: str) -> list[str]:
    first, last = int(space.start), int(space.start + space.n - 1)
    is_whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
    if isinstance(value, np.ndarray) and value.shape == () and value.dtype.kind in "iu":
        is_whole = True
    if not is_whole or not first <= int(value) <= last:
        shown = f"{value!r}, {a_kind(value)}" if not is_whole else f"{int(value)}"
        raise EnvironmentFault(
            f"{what} is {shown}; expected an integer from {first} to {last}, as its space {space} "
            "says."
        )
    return []


def _check_array(space: Any, value: Any, what: str) -> list[str]:
    """Box, MultiDiscrete, MultiBinary: a NumPy array that can be copied into one of the space's."""
    shape, dtype = tuple(space.shape), np.dtype(space.dtype)
    is_array = isinstance(value, np.ndarray | np.generic) and not isinstance(
        value, np.ma.MaskedArray
    )
    if not is_array:
        raise EnvironmentFault(
            f"{what} is {a_kind(value)}; expected a numpy.ndarray of shape {shape} and type "
            f"{dtype}, as its space says. Convert it in the environment, by "
            f"`np.asarray(…, np.{dtype})`."
        )
    if value.shape != shape:
        raise EnvironmentFault(
            f"{what} has the shape {value.shape}, but its space says {shape}. Correct one of the "
            "two in the environment."
        )
    kinds = INTEGERS | {"f"} if dtype.kind == "f" else INTEGERS
    if value.dtype.kind not in kinds:
        raise EnvironmentFault(
            f"{what} has the type {value.dtype}, which cannot become the {dtype} of its space "
            f"without loss; expected {dtype}. Convert it in the environment, or declare the type "
            "that it has."
        )
    return _check_values(space, value, what)


def _check_values(space: Any, value: Any, what: str) -> list[str]:
    """Finite, within what the arrays it is copied into can hold, and within the space."""
    dtype = np.dtype(space.dtype)
    if dtype.kind == "f":
        with np.errstate(over="ignore"):
            usable = np.isfinite(np.asarray(value).astype(np.float32).astype(dtype))
        held = dtype if dtype.itemsize < 4 else "float32"
        expected = f"expected finite numbers within the range of {held}"
        _require_all(usable, value, what, f"{expected}. Mend the step that made it")
        return _bounds_note(space, value, what)
    # JAX counts in 32 bits.
    limits = np.iinfo(dtype if dtype.itemsize < 4 else np.int32) if dtype.kind in "iu" else None
    low, high = (0, 1) if limits is None else (limits.min, limits.max)
    match space:
        case spaces.MultiDiscrete():
            start = np.asarray(space.start, np.int64)
            inside = (value >= start) & (value < start + space.nvec)
            expected = f"expected a sample of its space {space}"
        case spaces.MultiBinary():
            inside = (value == 0) | (value == 1)
            expected = f"expected zeros and ones, as its space {space} says"
        case _:
            inside = (value >= low) & (value <= high)
            expected = (
                f"expected integers from {low} to {high}, which is what {dtype} can hold here"
            )
    _require_all(inside, value, what, expected)
    large = value.size and int(np.abs(np.asarray(value, np.int64)).max()) > EXACT
    note = (
        f"{what} holds integers beyond {EXACT:,}, which lose their last digits in the float32 that "
        "networks count in. Scale them in the environment."
    )
    return [note, *_bounds_note(space, value, what)] if large else _bounds_note(space, value, what)


def _require_all(good: Any, value: Any, what: str, expected: str) -> None:
    if np.all(good):
        return
    index = tuple(int(i) for i in np.argwhere(~np.asarray(good))[0])
    others = int(np.sum(~np.asarray(good))) - 1
    raise EnvironmentFault(
        f"{what} is {np.asarray(value)[index]}{f' at index {index}' if index else ''}"
        f"{f' (and {others} more)' if others else ''}; {expected}."
    )


def _bounds_note(space: Any, value: Any, what: str) -> list[str]:
    """Nothing in training depends on a Box's bounds, so values outside are only warned of."""
    if not isinstance(space, spaces.Box):
        return []
    slack = 1e-6 * np.maximum(1, np.abs(value)) if np.dtype(space.dtype).kind == "f" else 0
    outside = (value < space.low - slack) | (value > space.high + slack)
    if not np.any(outside):
        return []
    index = tuple(int(i) for i in np.argwhere(outside)[0])
    low, high = np.asarray(space.low)[index], np.asarray(space.high)[index]
    return [
        f"{what} is {np.asarray(value)[index]} at index {index}, outside the bounds {low} to "
        f"{high} of its space ({int(np.sum(outside))} of {value.size} entries are). Training goes "
        "on, for nothing in it depends on these bounds; correct them, or the observation."
    ]


def a_kind(value: object) -> str:
    """``a list``, ``a torch.Tensor``, ``None``: what a value is, for a message."""
    if value is None:
        return "None"
    kind = type(value)
    name = kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__name__}"
    return f"{'an' if name[0] in 'aeiou' else 'a'} {name}"
