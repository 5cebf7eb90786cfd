"""How an action of the policy becomes one of the environment."""

from collections.abc import Callable
from typing import Any

import numpy as np
from gymnasium import spaces

from klamp.config.choices import ActionBounds
from klamp.envs.spaces.masks import mask_sizes
from klamp.envs.spaces.supported import leaves_of, parts_of


def action_numbers(space: Any) -> int:
    """Numbers in one action as the policy samples it."""
    return sum(int(np.prod(part.shape)) for part in leaves_of(space))


def action_buffer(space: Any, leading: tuple[int, ...]) -> Any:
    """An empty array for actions as the policy samples them; for Dict and Tuple, a tuple."""
    parts = parts_of(space)
    if parts is not None:
        return tuple(action_buffer(part, leading) for part in parts)
    if isinstance(space, spaces.Discrete):
        return np.zeros(leading, np.int32)
    kind = np.float32 if isinstance(space, spaces.Box) else np.int32
    return np.zeros((*leading, int(np.prod(space.shape))), kind)


def observation_size(space: spaces.Box) -> int:
    """Numbers in one flattened observation."""
    return int(np.prod(space.shape))


def to_environment(space: Any, bounds: ActionBounds = "clip") -> Callable[[Any], Any]:
    """The map from sampled actions [N, …] to what the environment's ``step`` takes.

    Box actions are brought within the bounds here, on the way out: the stored action stays as
    sampled, so that its log-probability is that of the distribution that chose it.
    """
    match space:
        case spaces.Discrete():
            return _shifted(space.dtype, (), int(space.start))
        case spaces.MultiDiscrete():
            return _shifted(space.dtype, space.shape, np.asarray(space.start, space.dtype))
        case spaces.MultiBinary():
            return _shifted(space.dtype, space.shape, 0)
        case spaces.Dict():
            parts = {name: to_environment(part, bounds) for name, part in space.spaces.items()}
            return lambda action: {
                name: part(a) for (name, part), a in zip(parts.items(), action, strict=True)
            }
        case spaces.Tuple():
            inner = [to_environment(part, bounds) for part in space.spaces]
            return lambda action: tuple(p(a) for p, a in zip(inner, action, strict=True))
        case _:
            return _clipped(space) if bounds == "clip" else _squashed(space, bounds)


def _shifted(dtype: Any, shape: tuple[int, ...], start: Any) -> Callable[[np.ndarray], np.ndarray]:
    """Integers, counted from ``start`` instead of 0."""
    moves = bool(np.any(start))

    def integers(action: np.ndarray) -> np.ndarray:
        moved = action.astype(dtype)
        moved = moved.reshape(-1, *shape) if shape else moved
        return moved + start if moves else moved

    return integers


def _clipped(space: spaces.Box) -> Callable[[np.ndarray], np.ndarray]:
    """Numbers, cut off at the bounds."""
    low, high, shape, kind = space.low, space.high, space.shape, space.dtype

    def box(action: np.ndarray) -> np.ndarray:
        shaped = action.reshape(-1, *shape)
        return np.minimum(np.maximum(shaped, low), high).astype(kind, copy=False)

    return box


def _squashed(space: spaces.Box, bounds: ActionBounds) -> Callable[[np.ndarray], np.ndarray]:
    """Any real number into the bounds: by tanh, or from log-odds, which is tanh of their half."""
    low, high, shape, kind = space.low, space.high, space.shape, space.dtype
    middle, half = (high / 2 + low / 2), (high / 2 - low / 2)
    slope = np.float32(1 if bounds == "tanh" else 0.5)

    def box(action: np.ndarray) -> np.ndarray:
        inside = middle + half * np.tanh(slope * action.reshape(-1, *shape))
        # Rounding may step over a bound.
        return np.minimum(np.maximum(inside, low), high).astype(kind, copy=False)

    return box


def random_actions(
    space: Any, num_envs: int, allowed: np.ndarray | None, generator: np.random.Generator
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
