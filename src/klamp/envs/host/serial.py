"""N copies of one environment, each reset with a seed of its own and stepped with its own action.

``LocalCopies`` steps them one after another in this process; ``subprocesses.WorkerCopies`` gives
each a process. Nothing resets by itself: when an episode begins, and from which seed, is decided
above, so any episode can be played again from its seed and its actions.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from gymnasium.vector.utils import batch_space, concatenate, create_empty_array, iterate

from klamp.envs.host.copies import Info, Replayed, Stepped, check_end
from klamp.errors import CopyFault, one_line


class LocalCopies:
    """Copies in this process, stepped one after another."""

    def __init__(self, envs: Sequence[Any]) -> None:
        self.envs = list(envs)
        self.num_envs = len(self.envs)
        self._indices = range(self.num_envs)
        self.single_observation_space: Any = self.envs[0].observation_space
        self.single_action_space: Any = self.envs[0].action_space
        space = self.single_observation_space
        self.observation: Any = create_empty_array(space, self.num_envs)
        self._plain = isinstance(self.observation, np.ndarray) and type(space).__name__ == "Box"
        self._shape = space.shape
        self._seen: list[Any] = [None] * self.num_envs
        self._batched = batch_space(self.single_action_space, self.num_envs)
        self._reward = np.zeros(self.num_envs)
        self._terminated = np.zeros(self.num_envs, bool)
        self._truncated = np.zeros(self.num_envs, bool)
        self._infos: list[Info] = [{} for _ in self.envs]

    def reset(self, seeds: dict[int, int]) -> list[Info | None]:
        """Reset some copies, each with its seed; the info of each, None where not reset."""
        infos: list[Info | None] = [None] * self.num_envs
        for index, seed in seeds.items():
            infos[index] = self._reset(index, seed)
        self._collate()
        return infos

    def step(self, action: Any) -> Stepped:
        """Step every copy with its row of ``action``."""
        # What is not one array is split as Gymnasium split it when it was batched.
        rows = action if isinstance(action, np.ndarray) else list(iterate(self._batched, action))
        self._step(self._indices, rows)
        self._collate()
        return Stepped(
            self._reward.copy(), self._terminated.copy(), self._truncated.copy(), self._infos
        )

    def replay(self, index: int, seed: int, actions: Sequence[Any]) -> Replayed:
        """Reset one copy and take the actions one after another."""
        self._infos[index] = self._reset(index, seed)
        self._reward[index], self._terminated[index], self._truncated[index] = 0.0, False, False
        for action in actions:
            self._step([index], [action])
        self._collate()
        return Replayed(
            float(self._reward[index]),
            bool(self._terminated[index]),
            bool(self._truncated[index]),
            self._infos[index],
        )

    def restart(self, index: int) -> None:
        """Copies in this process cannot be lost one by one."""
        raise CopyFault(index, "cannot be started again in this process.")

    def close(self) -> None:
        """Free the environments."""
        for env in self.envs:
            env.close()

    def _reset(self, index: int, seed: int) -> Info:
        try:
            observed, info = self.envs[index].reset(seed=seed)
            self._take(index, observed)
        except Exception as error:
            raise fault(index, "reset", error) from error
        return info

    def _step(self, indices: Iterable[int], actions: Iterable[Any]) -> None:
        """Step some copies, each with its action; most of the time of a rollout is spent here."""
        envs, infos, take = self.envs, self._infos, self._take
        reward, terminated, truncated = self._reward, self._terminated, self._truncated
        index = 0
        try:
            for index, action in zip(indices, actions, strict=True):
                observed, reward[index], ended, cut, info = envs[index].step(action)
                check_end(ended, cut, info)
                terminated[index], truncated[index], infos[index] = ended, cut, info
                take(index, observed)
        except Exception as error:
            raise fault(index, "step", error) from error

    def _take(self, index: int, observed: Any) -> None:
        """Keep an observation: at once where it is an array, else until all are there."""
        if not self._plain:
            self._seen[index] = observed
            return
        if observed.shape != self._shape:
            raise ValueError(
                f"the observation has the shape {observed.shape}, expected {self._shape}"
            )
        self.observation[index] = observed

    def _collate(self) -> None:
        """Batch observations that are not plain arrays."""
        if not self._plain and all(seen is not None for seen in self._seen):
            self.observation = concatenate(
                self.single_observation_space, self._seen, self.observation
            )


def fault(index: int, call: str, error: BaseException) -> CopyFault:
    """An exception in environment code, by the name of its type and in its own words."""
    return CopyFault(index, f"raised {type(error).__name__} in `{call}`: {one_line(error)}")
