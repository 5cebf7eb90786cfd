"""Environments as copies that we reset: an episode is its seed and its actions.

Each episode has a seed of its own, a function of (run seed, environment, episode), and the actions
since it began are kept. An environment that repeats itself from both can therefore be put back to
its position: when a run is resumed, or when the process that stepped it has died.
"""

import json
import tempfile
import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from gymnasium.vector.utils import create_empty_array

from klamp.envs import MASK_KEY
from klamp.envs.host.copies import Copies, Info, Replayed, Stepped
from klamp.envs.host.info_numbers import numbers_of
from klamp.envs.host.interface import Transition, are_episode_numbers
from klamp.envs.host.subprocesses import WorkersLost
from klamp.envs.spaces.observation_reader import ObservationReader
from klamp.errors import CheckpointError, CopyFault, EnvironmentFault, KlampWarning
from klamp.runtime.seeding import EnvironmentSeeds

TRIES = 2
"""Times that a lost worker is started again at one step."""

TRIM = 4096
"""The most actions of finished episodes that are kept before they are removed together."""


class EpisodesSoFar(NamedTuple):
    """The running episode of each environment. The list that it refers to only grows."""

    episodes: np.ndarray
    """[N]: the number of the running episode."""
    began: np.ndarray
    """[N]: where its first action lies in ``actions``."""
    actions: list[Any]
    length: int
    """How many of ``actions`` had been taken."""
    observation: np.ndarray
    """[N, …]: what was seen last, to compare with after a replay."""

    def arrays(self) -> dict[str, np.ndarray]:
        """The episodes, with the actions from the oldest running one on."""
        first = int(self.began.min())
        kept = {
            "episodes": self.episodes,
            "began": self.began - first,
            "observation": self.observation,
        }
        if first < self.length:
            block = jax.tree.map(lambda *rows: np.stack(rows), *self.actions[first : self.length])
            kept |= {f"actions{i}": leaf for i, leaf in enumerate(jax.tree.leaves(block))}
        return kept


class CopiedEnvironments:
    """Copies, with a seed for each episode and the actions of those that run."""

    def __init__(self, copies: Copies, env: str, seeds: EnvironmentSeeds) -> None:
        self.env, self.copies, self.num_envs = env, copies, copies.num_envs
        self.observation_space = copies.single_observation_space
        self.action_space = copies.single_action_space
        self._seeds = seeds
        self._shown = ObservationReader(
            env, self.observation_space, self.action_space, self.num_envs
        )
        self.policy_observation_space = self._shown.space
        self._episodes = np.full(self.num_envs, -1, np.int64)
        self._began = np.zeros(self.num_envs, np.int64)
        self._actions: list[Any] = []
        self._all, self._none = np.ones(self.num_envs, bool), np.zeros(self.num_envs, bool)
        self._observation = np.empty(0)
        self.healed = 0
        """Workers that were lost and started again."""

    @property
    def action_mask(self) -> np.ndarray | None:
        """[N, entries]: the actions allowed next; None where the environment does not tell."""
        return None if self._shown.masks is None else self._shown.masks.allowed

    def begin(self, iteration: int) -> None:
        """Nothing to do: environments draw from the seeds of their episodes."""

    def reset(self) -> np.ndarray:
        """Start a new episode in each environment, each from a seed of its own."""
        infos = self._start(range(self.num_envs))
        self._observation = self._shown.first(self.copies.observation, _masks(infos))
        return self._observation

    def step(self, action: Any) -> Transition:
        """Step every environment; where an episode ended, the next one begins."""
        self._actions.append(_copied(action))
        self._shown.count_step()
        stepped = self._step(action)
        ended = stepped.terminated | stepped.truncated
        if not np.count_nonzero(ended):  # a quarter of the time of `any`
            seen = self._show(stepped.infos, self._none)
            self._observation = seen
            return Transition(
                seen, seen, stepped.reward, stepped.terminated, stepped.truncated, self._all
            )
        final = np.array(self._show(stepped.infos, ended))
        rows = np.flatnonzero(ended)
        numbers = {int(i): numbers_of(stepped.infos[i]) for i in rows}
        infos = self._start(rows)
        told = [old if new is None else new for old, new in zip(stepped.infos, infos, strict=True)]
        seen = self._observation = self._show(told, self._none)
        ends = stepped.reward, stepped.terminated, stepped.truncated
        return Transition(seen, final, *ends, self._all, numbers)

    def episode_seed(self, index: int, *, earlier: int = 0) -> int:
        """The seed of one environment's running episode, or of one that many ``earlier``."""
        episode = int(self._episodes[index]) - earlier
        return self._seeds.of_episode(index, episode)

    def origin(self, index: int, *, earlier: int = 0) -> str:
        """Each episode begins from a seed of its own."""
        seed = self.episode_seed(index, earlier=earlier)
        return f"in the episode that `reset(seed={seed})` begins"

    def position(self) -> EpisodesSoFar:
        """Where the environments stand; cheap, so it is taken at each iteration."""
        return EpisodesSoFar(
            self._episodes.copy(),
            self._began.copy(),
            self._actions,
            len(self._actions),
            np.array(self._observation),
        )

    def restore(self, saved: dict[str, np.ndarray]) -> tuple[np.ndarray, list[str]]:
        """Replay every running episode, from its seed and its actions."""
        self._episodes, self._began, self._actions = self._checked(saved)
        infos: list[Info | None] = []
        problems: list[str] = []
        for i in range(self.num_envs):
            try:
                infos.append(self._replay(i).info)
            except CopyFault as fault:
                problems.append(f"environment {self._seeds.first + i} {fault.what}")
                infos.append(self._start([i])[i])
        self._observation = self._shown.first(self.copies.observation, _masks(infos))
        expected = saved["observation"]
        if expected.shape != self._observation.shape:
            raise CheckpointError(
                f"The checkpoint was saved with observations {list(expected.shape[1:])} of "
                f"`{self.env}`, which now shows {list(self._observation.shape[1:])}. Install the "
                "environment's version that the run began with."
            )
        for i in range(self.num_envs):
            if not np.array_equal(expected[i], self._observation[i], equal_nan=True):
                problems.append(
                    f"environment {self._seeds.first + i} came to another observation from the "
                    "same seed"
                )
        return self._observation, problems

    def close(self) -> None:
        """Free the environments."""
        self.copies.close()

    def _start(self, which: Sequence[int] | range | np.ndarray) -> list[Info | None]:
        """The next episode of these environments."""
        for i in which:
            self._episodes[i] += 1
            self._began[i] = len(self._actions)
        first = int(self._began.min())
        if first > TRIM:
            # A new list: positions that were taken refer to the old one.
            self._actions = self._actions[first:]
            self._began -= first
        try:
            return self.copies.reset({int(i): self.episode_seed(int(i)) for i in which})
        except WorkersLost as loss:
            infos = list(loss.infos)
            for i, replayed in self._healed(loss).items():
                infos[i] = replayed.info
            return infos
        except CopyFault as fault:
            raise self._explained(fault) from fault

    def _step(self, action: Any) -> Stepped:
        try:
            return self.copies.step(action)
        except WorkersLost as loss:
            stepped = loss.stepped
            for i, replayed in self._healed(loss).items():
                stepped.reward[i] = replayed.reward
                stepped.terminated[i] = replayed.terminated
                stepped.truncated[i] = replayed.truncated
                stepped.infos[i] = replayed.info
            return stepped
        except CopyFault as fault:
            raise self._explained(fault) from fault

    def _healed(self, loss: WorkersLost) -> dict[int, Replayed]:
        """Replace lost workers, each brought to the position of the old one."""
        return {index: self._heal(index, why) for index, why in loss.lost.items()}

    def _heal(self, index: int, why: str) -> Replayed:
        """Start another worker and replay the episode; the last action may kill this one, too."""
        for _ in range(TRIES):
            self.healed += 1
            warnings.warn(
                f"Environment {self._seeds.first + index} of `{self.env}` {why} It was started "
                "again, and its episode played again.",
                KlampWarning,
                stacklevel=2,
            )
            try:
                self.copies.restart(index)
                return self._replay(index)
            except CopyFault as fault:
                why = fault.what
        path = self._reproducer(index)
        raise EnvironmentFault(
            f"Environment {self._seeds.first + index} of `{self.env}` was lost {TRIES + 1} times "
            f"at the same step: {why} Its episode, as a seed and actions to try alone, is in "
            f"{path}."
        )

    def _reproducer(self, index: int) -> str:
        """A file with the episode that a worker does not survive."""
        actions = [
            jax.tree.map(lambda leaf: np.asarray(leaf).tolist(), action)
            for action in self._episode(index)
        ]
        with tempfile.NamedTemporaryFile(
            "w", prefix="klamp-episode-", suffix=".json", delete=False
        ) as file:
            seed = self.episode_seed(index)
            json.dump({"env": self.env, "seed": seed, "actions": actions}, file)
        return file.name

    def _show(self, infos: Sequence[Info | None], ended: np.ndarray) -> np.ndarray:
        if self._shown.plain:
            return self.copies.observation
        return self._shown.see(self.copies.observation, _masks(infos), ended)

    def _replay(self, index: int) -> Replayed:
        """Replay the running episode in one copy; returns what its last step returned."""
        return self.copies.replay(index, self.episode_seed(index), self._episode(index))

    def _episode(self, index: int) -> list[Any]:
        """The actions of a running episode."""
        taken = self._actions[int(self._began[index]) :]
        return [jax.tree.map(lambda leaf: leaf[index], action) for action in taken]

    def _explained(self, fault: CopyFault) -> EnvironmentFault:
        """The fault, with where it happened."""
        step = len(self._actions) - int(self._began[fault.index])
        return EnvironmentFault(
            f"Environment {self._seeds.first + fault.index} of `{self.env}` {fault.what} (Episode "
            f"{int(self._episodes[fault.index])}, step {step}; `reset(seed="
            f"{self.episode_seed(fault.index)})` begins that episode.)"
        )

    def _checked(self, saved: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray, list[Any]]:
        """Episodes, beginnings and actions of a saved position, which must fit these copies."""
        like = create_empty_array(self.action_space, self.num_envs)
        shapes, structure = jax.tree.flatten(like)
        block = [saved.get(f"actions{i}") for i in range(len(shapes))]
        length = 0 if block[0] is None or not block[0].ndim else len(block[0])
        fits = (
            {"episodes", "began", "observation"} <= set(saved)
            and saved["episodes"].shape == saved["began"].shape == (self.num_envs,)
            and saved["began"].dtype == saved["episodes"].dtype == np.int64
            and bool(np.all((saved["began"] >= 0) & (saved["began"] <= length)))
            and are_episode_numbers(saved["episodes"])
            and all(
                (part is None and length == 0)
                or (part is not None and part.shape == (length, *shape.shape))
                for part, shape in zip(block, shapes, strict=True)
            )
        )
        if not fits:
            raise CheckpointError(
                f"The checkpoint does not say where the {self.num_envs} environments `{self.env}` "
                "of this run stood. It was saved with other environments; resume with the "
                "config.json it was saved with."
            )
        actions = [
            jax.tree.unflatten(structure, [part[t] for part in block if part is not None])
            for t in range(length)
        ]
        return saved["episodes"].copy(), saved["began"].copy(), actions


def _masks(infos: Sequence[Info | None]) -> list[Any]:
    """The mask that each environment told, in its info."""
    return [None if info is None else info.get(MASK_KEY) for info in infos]


def _copied(action: Any) -> Any:
    """A copy, to be kept: an environment may write into the action that it is given."""
    # Nearly always one array, for which a tree's map takes ten times as long.
    return action.copy() if isinstance(action, np.ndarray) else jax.tree.map(np.array, action)
