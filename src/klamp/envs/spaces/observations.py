"""Observations of any space as one array a row, made at the door, on the host.

A Box passes as it is. Everything else becomes one vector of float32: Discrete and MultiDiscrete
one-hot, MultiBinary as 0 and 1, bytes divided by 255, the parts of a Dict (in the order of its
keys) or Tuple one after another. A Dict's entry ``action_mask`` is no observation; a Dict of one
part besides it is that part.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from gymnasium import spaces

from klamp.errors import EnvironmentFault

MASK_KEY = "action_mask"
"""Where an environment tells the allowed actions: a key of its info or of a Dict observation."""

Write = Callable[[Any, np.ndarray], None]
"""Writes a batch of one part, [N, …], into its columns, [N, size]."""


def masks_in_observation(space: Any) -> bool:
    """Whether the observation carries the action mask."""
    return isinstance(space, spaces.Dict) and MASK_KEY in space.spaces


def without_mask(space: Any) -> Any:
    """The space of the observation proper."""
    if not masks_in_observation(space):
        return space
    parts = {name: part for name, part in space.spaces.items() if name != MASK_KEY}
    return spaces.Dict(parts) if len(parts) != 1 else next(iter(parts.values()))


def seen_space(space: Any) -> spaces.Box:
    """The Box of what a policy sees of an observation space."""
    proper = without_mask(space)
    if isinstance(proper, spaces.Box):
        return proper
    return spaces.Box(-np.inf, np.inf, (part_size(proper),), np.float32)


def part_size(space: Any) -> int:
    """Numbers in the vector that a space becomes."""
    match space:
        case spaces.Discrete():
            return int(space.n)
        case spaces.MultiDiscrete():
            return int(space.nvec.sum())
        case spaces.Dict():
            return sum(part_size(part) for part in space.spaces.values())
        case spaces.Tuple():
            return sum(part_size(part) for part in space.spaces)
        case _:
            return int(np.prod(space.shape))


def encoder(space: Any) -> Callable[[Any], np.ndarray] | None:
    """The map from a batch of observations to [N, …]; None where they are that already."""
    proper = without_mask(space)
    only = next((name for name, part in _parts(space) if part is proper), None)
    if isinstance(proper, spaces.Box):
        return None if only is None else lambda batch: np.asarray(batch[only])
    size, write = part_size(proper), _writer(proper)

    def encode(batch: Any) -> np.ndarray:
        part = batch if only is None else batch[only]
        rows = np.empty((_length(part), size), np.float32)
        write(part, rows)
        return rows

    return encode


def _parts(space: Any) -> list[tuple[Any, Any]]:
    return list(space.spaces.items()) if isinstance(space, spaces.Dict) else []


def _length(batch: Any) -> int:
    """N of a batch, from its first leaf."""
    while isinstance(batch, dict | tuple):
        batch = next(iter(batch.values())) if isinstance(batch, dict) else batch[0]
    return len(batch)


def _writer(space: Any) -> Write:
    match space:
        case spaces.Discrete():
            return _one_hot(np.array([space.n]), np.array([space.start]))
        case spaces.MultiDiscrete():
            return _one_hot(space.nvec.ravel(), np.ravel(space.start))
        case spaces.Dict():
            return _concatenated(list(space.spaces.items()))
        case spaces.Tuple():
            return _concatenated(list(enumerate(space.spaces)))
        case _:
            return _plain(1 / 255 if space.dtype == np.uint8 and _is_box(space) else 1)


def _is_box(space: Any) -> bool:
    return isinstance(space, spaces.Box)


def _plain(factor: float) -> Write:
    """Numbers as they are, in order, times a factor."""

    def write(batch: Any, columns: np.ndarray) -> None:
        columns[:] = np.reshape(batch, columns.shape)
        if factor != 1:
            np.multiply(columns, np.float32(factor), out=columns)

    return write


def _one_hot(sizes: np.ndarray, start: np.ndarray) -> Write:
    """For each of several choices, a 1 in the column of the value."""
    first = np.concatenate(([0], np.cumsum(sizes)[:-1]))

    def write(batch: Any, columns: np.ndarray) -> None:
        value = np.reshape(batch, (len(columns), len(sizes))).astype(np.int64) - start
        outside = (value < 0) | (value >= sizes)
        if outside.any():
            row, part = (int(i) for i in np.argwhere(outside)[0])
            raise EnvironmentFault(
                f"The discrete observation of environment {row}, part {part}, is "
                f"{int(value[row, part] + start[part])}; expected {int(start[part])} to "
                f"{int(start[part] + sizes[part] - 1)}, as its space says."
            )
        columns[:] = 0
        np.put_along_axis(columns, value + first, 1, axis=1)

    return write


def _concatenated(parts: list[tuple[Any, Any]]) -> Write:
    """The parts of a Dict or Tuple, each in its columns."""
    ends = np.cumsum([0, *(part_size(part) for _, part in parts)])
    writers = [(key, _writer(part), ends[i], ends[i + 1]) for i, (key, part) in enumerate(parts)]

    def write(batch: Any, columns: np.ndarray) -> None:
        for key, write_part, start, end in writers:
            write_part(batch[key], columns[:, start:end])

    return write


def as_batch(space: Any, observation: Any) -> tuple[Any, bool] | None:
    """One observation, or a batch, as a batch; and whether it was one. None if it fits neither."""
    leaves = _leaves(space, observation)
    if leaves is None:
        return None
    if all(array.shape == shape for array, shape in leaves):
        return batch_of_one(observation), True
    lengths = {array.shape[:1] for array, _ in leaves}
    if len(lengths) == 1 and all(array.shape[1:] == shape for array, shape in leaves):
        return observation, False
    return None


def _leaves(space: Any, value: Any) -> list[tuple[np.ndarray, tuple[int, ...]]] | None:
    """Each array of an observation beside the shape that its space gives it."""
    if not isinstance(space, spaces.Dict | spaces.Tuple):
        return [(np.asarray(value), tuple(space.shape))]
    if isinstance(space, spaces.Dict):
        if not isinstance(value, dict):
            return None
        # A mask may be left out: it is no observation.
        names = [name for name in space.spaces if name != MASK_KEY or name in value]
        pairs = [(space.spaces[name], value.get(name)) for name in names]
    else:
        if not isinstance(value, tuple) or len(value) != len(space.spaces):
            return None
        pairs = list(zip(space.spaces, value, strict=True))
    found: list[tuple[np.ndarray, tuple[int, ...]]] = []
    for part, inner_value in pairs:
        inner = None if inner_value is None else _leaves(part, inner_value)
        if inner is None:
            return None
        found += inner
    return found


def batch_of_one(value: Any) -> Any:
    """A batch with this one observation in it."""
    if isinstance(value, dict):
        return {key: batch_of_one(part) for key, part in value.items()}
    if isinstance(value, tuple):
        return tuple(batch_of_one(part) for part in value)
    return np.asarray(value)[None]
