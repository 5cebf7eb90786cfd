"""What the loop knows of environments on the host, whatever steps them.

Whichever way episodes are reset below, ``step`` returns the observation to act on next, the *true*
next observation (the final one where an episode ended), and which rows are transitions at all.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np

from klamp.envs.masks import ActionMasks
from klamp.envs.observations import MASK_KEY, encoder, masks_in_observation, seen_space


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


@runtime_checkable
class Position(Protocol):
    """Where all environments stand between two iterations."""

    def arrays(self) -> dict[str, np.ndarray]:
        """All that is needed to stand there again, by name."""
        ...


def are_episode_numbers(saved: np.ndarray) -> bool:
    """Whether numbers of episodes that were read can be gone on counting from."""
    return bool(np.all((saved >= 0) & (saved < 2**62)))


@runtime_checkable
class HostEnvironments(Protocol):
    """N environments of one kind, stepped together on the host.

    Observations come as arrays: what is not a Box is made one vector a row at this door. Where the
    environment tells which actions are allowed, ``action_mask`` holds it.
    """

    env: str
    num_envs: int
    observation_space: Any
    action_space: Any
    seen_space: Any

    @property
    def action_mask(self) -> np.ndarray | None:
        """[N, entries]: the actions allowed next; None where the environment does not tell."""
        ...

    def begin(self, iteration: int) -> None:
        """An iteration begins: what is drawn in it derives from its number."""
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
        """Stand there again: the observation to act on, and what could not be restored exactly.

        Raises ``CheckpointError`` where the arrays are not those of such environments.
        """
        ...

    def close(self) -> None:
        """Free the environments."""
        ...


def by_the_run(seed: int) -> str:
    """The ``origin`` of episodes that begin from a generator which many share, or which goes on."""
    return (
        f"in an episode without a seed of its own; the same run, from `seed={seed}`, comes to it "
        "again"
    )


class Shown:
    """What N environments show, as arrays, and the masks that come with it."""

    def __init__(self, env: str, observation_space: Any, action_space: Any, num_envs: int) -> None:
        self._env, self._action_space, self._num_envs = env, action_space, num_envs
        self.space = seen_space(observation_space)
        self._encode = encoder(observation_space)
        self._in_observation = masks_in_observation(observation_space)
        self.masks: ActionMasks | None = None
        self._steps = 0

    @property
    def plain(self) -> bool:
        """Whether observations pass as they are, and no masks come with them."""
        return self._encode is None and self.masks is None

    def first(self, raw: Any, told: Sequence[Any]) -> np.ndarray:
        """What the first reset shows; it tells whether there are masks."""
        if self._in_observation or any(mask is not None for mask in told):
            self.masks = ActionMasks(self._env, self._action_space, self._num_envs)
        return self.see(raw, told, np.zeros(self._num_envs, bool))

    def see(self, raw: Any, told: Sequence[Any], ended: np.ndarray) -> np.ndarray:
        """Observations as arrays; ``told`` holds each environment's mask, from its info.

        An environment that has ``ended`` ignores the next action: its mask may say anything.
        """
        if self.masks is not None:
            self.masks.begin()
            self.masks.read(raw[MASK_KEY]) if self._in_observation else self.masks.read_rows(told)
            self.masks.settle(self._steps, ended)
        return self.encode(raw)

    def encode(self, raw: Any) -> np.ndarray:
        """Observations as arrays."""
        return raw if self._encode is None else self._encode(raw)

    def count_step(self) -> None:
        """One more step has been taken; errors name it."""
        self._steps += 1
