"""How an action of the policy becomes one of the environment."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from gymnasium import spaces

from klamp.envs.spaces.masks import mask_sizes
from klamp.envs.spaces.supported import Space, leaves_of, parts_of
from klamp.types import HostOrDevice


def action_numbers(space: Space) -> int:
    """Numbers in one action as the policy samples it."""
    return sum(int(np.prod(part.shape)) for part in leaves_of(space))


def action_buffer(space: Space, leading: tuple[int, ...]) -> Any:
    """An empty array for actions as the policy samples them; for Dict and Tuple, a tuple."""
    parts = parts_of(space)
    if parts is not None:
        return tuple(action_buffer(part, leading) for part in parts)
    if isinstance(space, spaces.Discrete):
        return np.zeros(leading, np.int32)
    kind = np.float32 if isinstance(space, spaces.Box) else np.int32
    return np.zeros((*leading, int(np.prod(space.shape or ()))), kind)


def observation_size(space: spaces.Box) -> int:
    """Numbers in one flattened observation."""
    return int(np.prod(space.shape))


def to_environment(space: Space) -> Callable[[Any], Any]:
    """The map from sampled actions [N, …] to what the environment's ``step`` takes.

    It takes arrays of numpy or of JAX, traced ones included. Box actions are clipped to the bounds
    here, just before ``step``: the stored action stays as sampled, so that its log-probability is
    that of the distribution that chose it.
    """
    match space:
        case spaces.Dict():
            parts = {name: to_environment(part) for name, part in space.spaces.items()}
            return lambda action: {
                name: part(a) for (name, part), a in zip(parts.items(), action, strict=True)
            }
        case spaces.Tuple():
            inner = [to_environment(part) for part in space.spaces]
            return lambda action: tuple(p(a) for p, a in zip(inner, action, strict=True))
        case spaces.Box():
            return _clipped(space)
        case _:
            return _shifted(space, getattr(space, "start", 0))


def _shifted(space: Any, start: Any) -> Callable[[HostOrDevice], HostOrDevice]:
    """Integers, counted from ``start`` instead of 0."""
    moves = bool(np.any(start))

    def integers(action: HostOrDevice) -> HostOrDevice:
        kind = _kind(space, _library(action))
        moved = action.astype(kind)
        moved = moved.reshape(-1, *space.shape) if space.shape else moved
        return moved + np.asarray(start, kind) if moves else moved

    return integers


def _clipped(space: spaces.Box) -> Callable[[HostOrDevice], HostOrDevice]:
    """Numbers, clipped to the bounds."""
    low, high, shape = space.low, space.high, space.shape

    def box(action: HostOrDevice) -> HostOrDevice:
        xp = _library(action)
        inside = xp.minimum(xp.maximum(action.reshape(-1, *shape), low), high)
        return inside.astype(_kind(space, xp), copy=False)

    return box


_OF_NUMPY = (np.ndarray, np.generic)


def _library(action: HostOrDevice) -> Any:
    """The library that an action is an array of, ``numpy`` or ``jax.numpy``.

    Asked at every step: `isinstance(action, jax.Array)` would take half a microsecond there, and
    `action.__array_namespace__()` one.
    """
    return np if isinstance(action, _OF_NUMPY) else jax.numpy


def _kind(space: Any, library: Any) -> Any:
    """The space's dtype; in JAX, where 64 bits become 32, as JAX has it."""
    return space.dtype if library is np else jax.dtypes.canonicalize_dtype(space.dtype)


def random_actions(
    space: Space, num_envs: int, allowed: np.ndarray | None, generator: np.random.Generator
) -> Any:
    """Random allowed actions [N, …], in the form in which a policy samples them."""
    parts = parts_of(space)
    if parts is not None:
        actions: list[Any] = []
        for part in parts:
            width = sum(mask_sizes(part))
            mask = None if allowed is None else allowed[:, :width]
            actions.append(random_actions(part, num_envs, mask, generator))
            allowed = None if allowed is None else allowed[:, width:]
        return tuple(actions)
    match space:
        case spaces.Box():
            return generator.normal(size=(num_envs, int(np.prod(space.shape)))).astype(np.float32)
        case spaces.MultiBinary():
            return generator.integers(0, 2, (num_envs, int(np.prod(space.shape))), np.int32)
        case _:
            sizes = mask_sizes(space)
            score = generator.random((num_envs, sum(sizes)))
            score = score if allowed is None else np.where(allowed, score, -1)
            chosen = [part.argmax(axis=1) for part in np.split(score, np.cumsum(sizes)[:-1], 1)]
            several = np.stack(chosen, axis=1).astype(np.int32)
            return several[:, 0] if isinstance(space, spaces.Discrete) else several
