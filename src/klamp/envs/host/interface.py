"""The interface of environments on the host, whatever steps them.

Whichever way episodes are reset below, ``step`` returns the observation to act on next, the *true*
next observation (the final one where an episode ended), and which rows are transitions at all.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np

from klamp.envs.spaces.supported import Space


class Transition(NamedTuple):
    """One step of all N environments."""

    observation: np.ndarray
    """What to act on next: after an end, the first observation of the next episode."""
    next_observation: np.ndarray
    """What the action led to: after an end, the final observation of the episode."""
    reward: np.ndarray
    terminated: np.ndarray
    truncated: np.ndarray
    valid: np.ndarray
    """False for the row in which NEXT_STEP autoreset ignored the action."""
    numbers: Mapping[int, Mapping[str, float]] | None = None
    """The numbers of the last infos of the episodes that ended; None where none ended."""


@runtime_checkable
class Position(Protocol):
    """Where all environments stand between two iterations."""

    def arrays(self) -> dict[str, np.ndarray]:
        """All that is needed to restore the position, by name."""
        ...


def are_episode_numbers(saved: np.ndarray) -> bool:
    """Whether numbers of episodes that were read are valid."""
    return bool(np.all((saved >= 0) & (saved < 2**62)))


@runtime_checkable
class HostEnvironments(Protocol):
    """N environments of one kind, stepped together on the host.

    Observations are arrays: those of spaces that are no Box become one vector per row here.
    ``action_mask`` holds the allowed actions, where the environment gives them.
    """

    env: str
    num_envs: int
    observation_space: Space
    action_space: Space
    policy_observation_space: Any

    @property
    def action_mask(self) -> np.ndarray | None:
        """[N, entries]: the actions allowed next; None where the environment does not tell."""
        ...

    def begin(self, iteration: int) -> None:
        """An iteration begins; its random numbers derive from its number."""
        ...

    def reset(self) -> np.ndarray:
        """Start a new episode in each environment, each from a seed of its own."""
        ...

    def step(self, action: Any) -> Transition:
        """Step every environment."""
        ...

    def origin(self, index: int, *, earlier: int = 0) -> str:
        """In words, what leads to one environment's running episode, or one so many ``earlier``."""
        ...

    def position(self) -> Position:
        """Where the environments stand; cheap, so it is taken at each iteration."""
        ...

    def restore(self, saved: dict[str, np.ndarray]) -> tuple[np.ndarray, list[str]]:
        """Restore a position; the observation to act on, and what could not be restored exactly.

        Raises ``CheckpointError`` where the arrays are not those of such environments.
        """
        ...

    def close(self) -> None:
        """Free the environments."""
        ...


def by_the_run(seed: int) -> str:
    """The ``origin`` of episodes whose generator is shared by rows, or not reset per episode."""
    return (
        f"in an episode without a seed of its own; the same run, from `seed={seed}`, comes to it "
        "again"
    )
