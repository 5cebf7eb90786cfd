"""Which spaces are supported, and how an action of the policy becomes one of the environment."""

from collections.abc import Callable
from typing import Any

import numpy as np
from gymnasium import spaces

from klamp.choices import ActionBounds
from klamp.envs.masks import mask_sizes
from klamp.errors import EnvironmentFault

LARGEST = 10**8
"""Numbers that one observation may have."""


def check_spaces(env: str, observation_space: Any, action_space: Any) -> None:
    """Raise ``EnvironmentFault`` where no network or distribution covers a space."""
    for where, part in _leaves(observation_space, "The observation"):
        if not _has_network(part):
            raise EnvironmentFault(
                f"{where} of `{env}` is {part}; expected Box, Discrete, MultiDiscrete, "
                "MultiBinary, or a Dict or Tuple of these, none of them empty. Wrap the "
                "environment so that its observations are one of these, and register it under an "
                "id of its own."
            )
        if (size := int(np.prod(part.shape, dtype=float))) > LARGEST:
            raise EnvironmentFault(
                f"{where} of `{env}` has the shape {part.shape}: {size:,} numbers, "
                f"{size * np.dtype(part.dtype).itemsize / 1e9:,.1f} GB for one of them; expected "
                f"at most {LARGEST:,}. Scale it down in a wrapper."
            )
    for where, part in _leaves(action_space, "The action"):
        if not _has_distribution(part):
            raise EnvironmentFault(
                f"{where} of `{env}` is {part}; expected Discrete, MultiDiscrete, MultiBinary, a "
                "Box of floats, or a Dict or Tuple of these, none of them empty. Wrap the "
                "environment so that its actions are one of these."
            )
        if isinstance(part, spaces.Box) and not np.all(part.low <= part.high):
            wrong = np.flatnonzero(~(np.ravel(part.low) <= np.ravel(part.high))).tolist()
            raise EnvironmentFault(
                f"{where} of `{env}` is {part}, whose lower bound is not below the upper one in "
                f"the dimensions {wrong[:10]}; expected numbers with low ≤ high. Correct the space."
            )


def _leaves(space: Any, where: str) -> list[tuple[str, Any]]:
    """The parts of a space that are no Dict or Tuple, or an empty one, with where they are."""
    match space:
        case spaces.Dict() if space.spaces:
            inner = [_leaves(part, f"{where}[{key!r}]") for key, part in space.spaces.items()]
        case spaces.Tuple() if space.spaces:
            inner = [_leaves(part, f"{where}[{i}]") for i, part in enumerate(space.spaces)]
        case _:
            return [(where, space)]
    return [leaf for leaves in inner for leaf in leaves]


def leaves_of(space: Any) -> list[Any]:
    """The parts of a space that are no Dict or Tuple, however deep."""
    return [part for _, part in _leaves(space, "")]


def form(space: Any) -> list[Any]:
    """What two spaces of observations have in common where a policy of one can see the other.

    The bounds of a Box are no part of it: nothing is scaled by them.
    """
    return [
        (where, (part.shape, part.dtype == np.uint8) if isinstance(part, spaces.Box) else part)
        for where, part in _leaves(space, "")
    ]


def limits(space: Any) -> list[Any]:
    """The bounds of each Box of a space of actions, which are clipped or scaled to them."""
    boxes = [part for _, part in _leaves(space, "") if isinstance(part, spaces.Box)]
    return [(part.low.tolist(), part.high.tolist()) for part in boxes]


def parts_of(space: Any) -> list[Any] | None:
    """The parts of a Dict, in the order of its keys, or of a Tuple; None of any other space."""
    match space:
        case spaces.Dict():
            return list(space.spaces.values())
        case spaces.Tuple():
            return list(space.spaces)
        case _:
            return None


def _has_network(space: Any) -> bool:
    """Whether some network sees what is no Dict or Tuple."""
    known = spaces.Box | spaces.Discrete | spaces.MultiDiscrete | spaces.MultiBinary
    return isinstance(space, known) and 0 not in space.shape


def _has_distribution(space: Any) -> bool:
    """Whether some distribution covers what is no Dict or Tuple."""
    match space:
        case spaces.Discrete():
            return True
        case spaces.MultiDiscrete() | spaces.MultiBinary():
            return 0 not in space.shape
        case spaces.Box():
            is_vector = bool(space.shape) and 0 not in space.shape
            return is_vector and np.issubdtype(space.dtype, np.floating)
        case _:
            return False


def action_numbers(space: Any) -> int:
    """Numbers in one action as the policy samples it."""
    return sum(int(np.prod(part.shape)) for _, part in _leaves(space, ""))


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
