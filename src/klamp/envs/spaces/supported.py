"""Which spaces there are networks and distributions for."""

from typing import Any, TypeAlias

import numpy as np
from gymnasium import spaces

from klamp.errors import EnvironmentFault

Space: TypeAlias = spaces.Space[Any]
"""A space of Gymnasium, of whatever kind."""

LARGEST = 10**8
"""Numbers that one observation may have."""


def check_spaces(env: str, observation_space: Space, action_space: Space) -> None:
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


def leaves_of(space: Space) -> list[Any]:
    """The parts of a space that are no Dict or Tuple, however deep."""
    return [part for _, part in _leaves(space, "")]


def form(space: Space) -> list[Any]:
    """What two observation spaces must have in common for one policy to take both.

    The bounds of a Box are no part of it: nothing is scaled by them.
    """
    return [
        (where, (part.shape, part.dtype == np.uint8) if isinstance(part, spaces.Box) else part)
        for where, part in _leaves(space, "")
    ]


def limits(space: Space) -> list[Any]:
    """The bounds of each Box of an action space."""
    boxes = [part for _, part in _leaves(space, "") if isinstance(part, spaces.Box)]
    return [(part.low.tolist(), part.high.tolist()) for part in boxes]


def parts_of(space: Space) -> list[Any] | None:
    """The parts of a Dict, in the order of its keys, or of a Tuple; None of any other space."""
    match space:
        case spaces.Dict():
            return list(space.spaces.values())
        case spaces.Tuple():
            return list(space.spaces)
        case _:
            return None


def _has_network(space: Any) -> bool:
    """Whether there is a network for a space that is no Dict or Tuple."""
    known = spaces.Box | spaces.Discrete | spaces.MultiDiscrete | spaces.MultiBinary
    return isinstance(space, known) and 0 not in space.shape


def _has_distribution(space: Any) -> bool:
    """Whether there is a distribution for a space that is no Dict or Tuple."""
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
