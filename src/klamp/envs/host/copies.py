"""Copies of an environment: what they return, in whatever process they run."""

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

from klamp.envs.spaces.supported import Space

Info = dict[str, Any]
FLAGS = (bool, np.bool_)
"""The types that an end flag may have."""


def check_end(terminated: object, truncated: object, info: object) -> None:
    """Raise ``TypeError`` for ends that are no bools: the text "no" would end every episode."""
    if type(terminated) in FLAGS and type(truncated) in FLAGS and type(info) is dict:
        return  # nearly always: this is asked at every step
    for name, flag in (("terminated", terminated), ("truncated", truncated)):
        is_array = isinstance(flag, np.ndarray) and flag.shape == () and flag.dtype == bool
        if not (type(flag) in FLAGS or is_array):
            raise TypeError(f"`{name}` is of type {type(flag).__name__}, expected a bool")
    if not isinstance(info, dict):
        raise TypeError(f"`info` is of type {type(info).__name__}, expected a dict")


class Stepped(NamedTuple):
    """What one step of all copies returned, besides the observations."""

    reward: np.ndarray
    """[N] float64."""
    terminated: np.ndarray
    """[N] bool."""
    truncated: np.ndarray
    """[N] bool."""
    infos: list[Info]


class Replayed(NamedTuple):
    """What the last step of a replay returned; after no step at all, zeros and the reset's info."""

    reward: float
    terminated: bool
    truncated: bool
    info: Info


class Copies(Protocol):
    """What ``HostEnvironments`` asks of the copies; raises ``CopyFault`` with the copy's index."""

    num_envs: int
    single_observation_space: Space
    single_action_space: Space
    observation: Any
    """The last observations of all copies, [N, …], or a dict or tuple of such arrays. The same
    buffers hold the next ones."""

    def reset(self, seeds: dict[int, int]) -> list[Info | None]:
        """Reset some copies, each with its seed; the info of each, None where not reset."""
        ...

    def step(self, action: Any) -> Stepped:
        """Step every copy with its row of ``action``."""
        ...

    def replay(self, index: int, seed: int, actions: Sequence[Any]) -> Replayed:
        """Reset one copy and take the actions one after another."""
        ...

    def restart(self, index: int) -> None:
        """Another environment in the place of one that was lost."""
        ...

    def close(self) -> None:
        """Free the environments."""
        ...
