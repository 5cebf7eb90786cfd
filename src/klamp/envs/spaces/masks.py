"""Action masks: which actions an environment allows next, checked before anything is sampled."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from gymnasium import spaces

from klamp.envs.spaces.supported import Space
from klamp.errors import EnvironmentFault


def mask_sizes(space: Space) -> tuple[int, ...]:
    """The number of actions of each choice in an action space, in the order of its mask.

    A mask is one row of booleans: Discrete has one entry per action, MultiDiscrete the entries of
    its choices one after another, Dict (in the order of its keys) and Tuple those of their parts.
    What is no choice among finitely many actions (Box, MultiBinary) has none.
    """
    match space:
        case spaces.Discrete():
            return (int(space.n),)
        case spaces.MultiDiscrete():
            return tuple(int(n) for n in space.nvec.flat)
        case spaces.Dict():
            return tuple(n for part in space.spaces.values() for n in mask_sizes(part))
        case spaces.Tuple():
            return tuple(n for part in space.spaces for n in mask_sizes(part))
        case _:
            return ()


def mask_rows(value: Any, num_envs: int) -> np.ndarray:
    """A mask as an environment gives it, as booleans [N, entries].

    Either an array with one row per environment, or per environment a sequence of arrays (as
    ``MultiDiscrete.sample(mask)`` takes them); None where an environment gave none.
    """
    array = np.asarray(value)
    if array.dtype != object:
        return array.reshape(num_envs, -1).astype(bool)
    rows = [None if row is None else np.concatenate([np.ravel(p) for p in row]) for row in array]
    width = max((len(row) for row in rows if row is not None), default=0)
    blank = np.zeros(width, bool)
    return np.stack([blank if row is None else row.astype(bool) for row in rows])


def choices_left(allowed: np.ndarray, sizes: tuple[int, ...]) -> np.ndarray:
    """Whether each row of a mask allows something in every choice."""
    starts = np.cumsum((0, *sizes))[:-1]
    return np.asarray(np.logical_or.reduceat(allowed, starts, axis=1).all(axis=1))


class ActionMasks:
    """The masks of N environments as of their last observations."""

    def __init__(self, env: str, action_space: Space, num_envs: int) -> None:
        self.env, self.action_space, self.num_envs = env, action_space, num_envs
        self.sizes = mask_sizes(action_space)
        self._given = np.zeros(num_envs, bool)
        self.allowed = np.ones((num_envs, sum(self.sizes)), bool)
        """[N, entries]: True where an action may be taken next."""

    def begin(self) -> None:
        """A step begins: no environment has given its mask yet."""
        self._given[:] = False

    def read(self, value: Any, given: Any = None) -> None:
        """Take over a mask; ``given`` tells which rows of it an environment filled in."""
        if value is None:
            return
        rows = mask_rows(value, self.num_envs)
        if rows.shape != self.allowed.shape:
            raise EnvironmentFault(
                f"The action mask of `{self.env}` has {rows.shape[-1]} entries; its actions "
                f"{self.action_space} take {self.allowed.shape[-1]}, one for each action of each "
                "choice (Discrete, MultiDiscrete); Box and MultiBinary have no mask."
            )
        which = np.ones(self.num_envs, bool) if given is None else np.asarray(given, bool)
        self.allowed[which] = rows[which]
        self._given |= which

    def read_rows(self, told: Sequence[Any]) -> None:
        """Take over the mask of each environment that told one; None where it did not."""
        given = np.array([mask is not None for mask in told])
        if given.any():
            values = np.empty(self.num_envs, object)
            for i, mask in enumerate(told):
                values[i] = mask
            self.read(values, given)

    def settle(self, step: int, ended: np.ndarray) -> None:
        """The step is over: every mask is there and allows something.

        The mask of an environment that has ``ended``, and ignores the next action, is not checked.
        """
        self.allowed[ended] = True
        some = choices_left(self.allowed, self.sizes)
        for faulty, what in (
            (~some, "allows no action"),
            (~self._given & ~ended, "is missing, though it was given before"),
        ):
            if faulty.any():
                raise EnvironmentFault(
                    f"The action mask of environment {int(np.argmax(faulty))} of `{self.env}` at "
                    f"step {step} {what}; expected at least one allowed action in every choice, at "
                    "every step. An episode in which nothing can be done must end."
                )
