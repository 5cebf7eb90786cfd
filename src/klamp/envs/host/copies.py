"""Copies of an environment: what they answer, whatever process they live in."""

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

Info = dict[str, Any]


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
    single_observation_space: Any
    single_action_space: Any
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
