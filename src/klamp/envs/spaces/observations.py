"""Observations of any space as one array per environment, on the host and on the device.

A Box stays as it is. Everything else becomes one vector of float32: Discrete and MultiDiscrete
one-hot, MultiBinary as 0 and 1, bytes divided by 255, the parts of a Dict (in the order of its
keys) or Tuple one after another, images after all others. A Dict's entry ``action_mask`` is no
observation; a Dict of one part besides it is that part, and so is a Dict or Tuple of one image.
"""

import math
from collections.abc import Callable
from functools import reduce
from operator import getitem
from typing import Any, TypeGuard

import jax
import numpy as np
from gymnasium import spaces

from klamp.envs import MASK_KEY
from klamp.envs.spaces.joined import JoinedBox, is_image
from klamp.envs.spaces.supported import Space
from klamp.errors import EnvironmentFault
from klamp.types import HostOrDevice


def masks_in_observation(space: Space) -> TypeGuard[spaces.Dict]:
    """Whether the observation carries the action mask."""
    return isinstance(space, spaces.Dict) and MASK_KEY in space.spaces


def without_mask(space: Space) -> Space:
    """The space of the observation proper."""
    if not masks_in_observation(space):
        return space
    parts = {name: part for name, part in space.spaces.items() if name != MASK_KEY}
    return spaces.Dict(parts) if len(parts) != 1 else next(iter(parts.values()))


def policy_observation_space(space: Space) -> spaces.Box:
    """The Box of what a policy sees of an observation space."""
    proper = without_mask(space)
    _, seen = _only_image(proper)
    if isinstance(seen, spaces.Box):
        return seen
    images = [leaf.shape for _, leaf in _in_columns(proper) if is_image(leaf)]
    size = part_size(proper)
    if images:
        return JoinedBox(size - sum(map(math.prod, images)), tuple(images))
    return spaces.Box(-np.inf, np.inf, (size,), np.float32)


def part_size(space: Space) -> int:
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
            return int(np.prod(space.shape or ()))


def encoder(space: Space) -> Callable[[Any], Any] | None:
    """The map from a batch of observations to [N, …]; None where they are that already.

    It takes arrays of numpy or of JAX, traced ones included.
    """
    proper = without_mask(space)
    names = [name for name, part in _parts(space) if part is proper]
    inside, seen = _only_image(proper)
    path = (*(names[:1] if masks_in_observation(space) else ()), *inside)
    if isinstance(seen, spaces.Box):
        return (lambda batch: _at(batch, path)) if path else None
    leaves = [((*path, *below), leaf) for below, leaf in _in_columns(seen)]
    return lambda batch: _joined([_columns(leaf, _at(batch, place)) for place, leaf in leaves])


def host_encoder(space: Space) -> Callable[[Any], np.ndarray] | None:
    """``encoder`` for the observations of an environment on the host.

    Raises ``EnvironmentFault`` where a discrete value lies outside of its space.
    """
    encode = encoder(space)
    if encode is None:
        return None

    def checked(batch: Any) -> np.ndarray:
        _check_choices(space, batch)
        return np.asarray(encode(batch))

    return checked


def allowed_actions(space: Space, batch: Any) -> Any:
    """[N, entries]: the mask that a batch of observations carries; None where there is none."""
    if not masks_in_observation(space):
        return None
    parts = [_flat(part) for part in jax.tree.leaves(batch[MASK_KEY])]
    return parts[0].__array_namespace__().concat(parts, axis=1).astype(bool)


def _parts(space: Any) -> list[tuple[Any, Any]]:
    """The parts of a Dict by name, of a Tuple by number; none of any other space."""
    match space:
        case spaces.Dict():
            return list(space.spaces.items())
        case spaces.Tuple():
            return list(enumerate(space.spaces))
        case _:
            return []


def _in_columns(space: Any) -> list[tuple[tuple[Any, ...], Any]]:
    """The leaves of a space, each with the keys that lead to it; the images are the last."""
    leaves = _paths(space, ())
    return sorted(leaves, key=lambda found: is_image(found[1]))


def _paths(space: Any, path: tuple[Any, ...]) -> list[tuple[tuple[Any, ...], Any]]:
    """The leaves of a space, in the order of its parts."""
    if not isinstance(space, spaces.Dict | spaces.Tuple):
        return [(path, space)]
    return [leaf for name, part in _parts(space) for leaf in _paths(part, (*path, name))]


def _only_image(space: Any) -> tuple[tuple[Any, ...], Any]:
    """An image that is all that a Dict or Tuple holds, and the keys to it; else the space."""
    leaves = _paths(space, ())
    return leaves[0] if len(leaves) == 1 and is_image(leaves[0][1]) else ((), space)


def _at(batch: Any, path: tuple[Any, ...]) -> Any:
    """A part of a batch."""
    return reduce(getitem, path, batch)


def _joined(parts: list[HostOrDevice]) -> HostOrDevice:
    """Columns side by side."""
    if len(parts) == 1:
        return parts[0]
    return parts[0].__array_namespace__().concat(parts, axis=1)


def _flat(batch: Any) -> HostOrDevice:
    """[N, …] as [N, size]."""
    array = batch if isinstance(batch, jax.Array) else np.asarray(batch)
    return array.reshape(array.shape[0], -1)  # `len` of an exported batch is no number


def _columns(space: Any, batch: Any) -> HostOrDevice:
    """A batch of one leaf as float32 [N, size]."""
    match space:
        case spaces.Discrete():
            return _one_hot(_flat(batch), [int(space.n)], [int(space.start)])
        case spaces.MultiDiscrete():
            return _one_hot(_flat(batch), space.nvec.ravel(), np.ravel(space.start))
        case _:
            numbers = _flat(batch).astype(np.float32)
            is_bytes = isinstance(space, spaces.Box) and space.dtype == np.uint8
            return numbers * np.float32(1 / 255) if is_bytes else numbers


def _one_hot(value: HostOrDevice, sizes: Any, start: Any) -> HostOrDevice:
    """For each of several choices [N, k], a 1 in the column of the value; [N, Σ sizes]."""
    choice = np.repeat(np.arange(len(sizes)), sizes)
    meant = np.concatenate([begin + np.arange(n) for n, begin in zip(sizes, start, strict=True)])
    if isinstance(value, jax.Array):
        meant = meant.astype(np.int32)
    return (value[:, choice] == meant).astype(np.float32)


def _check_choices(space: Any, batch: Any) -> None:
    """Raise ``EnvironmentFault`` where a discrete value lies outside of its space."""
    match space:
        case spaces.Dict() | spaces.Tuple():
            for name, part in _parts(space):
                if name != MASK_KEY:
                    _check_choices(part, batch[name])
        case spaces.Discrete() | spaces.MultiDiscrete():
            value = _flat(batch)
            count = space.nvec if isinstance(space, spaces.MultiDiscrete) else space.n
            first, size = np.ravel(space.start), np.ravel(count)
            outside = (value < first) | (value >= first + size)
            if outside.any():
                row, place = (int(i) for i in np.argwhere(outside)[0])
                raise EnvironmentFault(
                    f"The discrete observation of environment {row}, part {place}, is "
                    f"{int(value[row, place])}; expected {int(first[place])} to "
                    f"{int(first[place] + size[place] - 1)}, as its space says."
                )
        case _:
            pass


def as_batch(space: Space, observation: Any) -> tuple[Any, bool] | None:
    """An observation or a batch as a batch, and whether it was one; None if it is neither."""
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


def batch_of_one(value: object) -> Any:
    """A batch with this one observation in it."""
    if isinstance(value, dict):
        return {key: batch_of_one(part) for key, part in value.items()}
    if isinstance(value, tuple):
        return tuple(batch_of_one(part) for part in value)
    return np.asarray(value)[None]
