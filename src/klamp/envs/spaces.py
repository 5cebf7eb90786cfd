"""Which spaces are supported, and how an action of the policy becomes one of the environment."""

from collections.abc import Callable
from typing import Any

import numpy as np
from gymnasium import spaces

from klamp.errors import EnvironmentFault


def check_spaces(env: str, observation_space: Any, action_space: Any) -> None:
    """Raise ``EnvironmentFault`` where no network or distribution covers a space."""
    if not isinstance(observation_space, spaces.Box) or 0 in observation_space.shape:
        raise EnvironmentFault(
            f"The observations of {env} are {observation_space}; expected a non-empty Box. "
            "Wrap the environment in gymnasium.wrappers.FlattenObservation, register it under an "
            "id of its own, and train on that id."
        )
    match action_space:
        case spaces.Discrete():
            return
        case spaces.Box() if action_space.shape and 0 not in action_space.shape:
            if np.issubdtype(action_space.dtype, np.floating):
                return
        case _:
            pass
    raise EnvironmentFault(
        f"The actions of {env} are {action_space}; expected Discrete or a Box of floats. Wrap the "
        "environment so that its actions are one of these."
    )


def observation_size(space: spaces.Box) -> int:
    """Numbers in one flattened observation."""
    return int(np.prod(space.shape))


def action_buffer(space: Any, leading: tuple[int, ...]) -> np.ndarray:
    """An empty array for actions as the policy samples them."""
    if isinstance(space, spaces.Discrete):
        return np.zeros(leading, np.int32)
    return np.zeros((*leading, int(np.prod(space.shape))), np.float32)


def to_environment(space: Any) -> Callable[[np.ndarray], np.ndarray]:
    """The map from sampled actions [N, …] to what the environment's ``step`` takes.

    Box actions are clipped to the bounds here, on the way out: the stored action stays as sampled,
    so that its log-probability is that of the distribution that chose it.
    """
    if isinstance(space, spaces.Discrete):
        dtype, start = space.dtype, int(space.start)

        def discrete(action: np.ndarray) -> np.ndarray:
            moved = action.astype(dtype)
            return moved + start if start else moved

        return discrete
    low, high, shape, kind = space.low, space.high, space.shape, space.dtype

    def box(action: np.ndarray) -> np.ndarray:
        shaped = action.reshape(-1, *shape)
        return np.minimum(np.maximum(shaped, low), high).astype(kind, copy=False)

    return box
