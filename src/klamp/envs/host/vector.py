"""A vector environment of Gymnasium's or of the environment's author.

It resets its rows itself, in one of two ways, or leaves that to klamp. Where one generator serves
all rows, it is seeded at each iteration from the iteration's number.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv, VectorEnv

from klamp.envs import MASK_KEY
from klamp.envs.host.info_numbers import Numbers, numbers_of, numbers_of_rows
from klamp.envs.host.interface import Transition, are_episode_numbers, by_the_run
from klamp.envs.spaces.observation_reader import ObservationReader
from klamp.envs.spaces.observations import batch_of_one
from klamp.errors import CheckpointError, EnvironmentFault
from klamp.runtime.seeding import EnvironmentSeeds

FINAL = ("final_obs", "final_observation")
"""The keys under which SAME_STEP environments give the final observation: since Gymnasium 1.0, and
before."""


class Attributes(NamedTuple):
    """The arrays and numbers among a vector environment's attributes, and its last observation."""

    values: dict[str, np.ndarray]

    def arrays(self) -> dict[str, np.ndarray]:
        """By name."""
        return self.values


class VectorEnvironments:
    """``HostEnvironments`` over a vector environment, whichever way it resets its rows."""

    def __init__(
        self,
        vector: VectorEnv[Any, Any, Any],
        env: str,
        seeds: EnvironmentSeeds,
        close: Callable[[], Any] | None = None,
    ) -> None:
        """``close`` frees it, by default its own method; a user's object stays open."""
        self._free = close or vector.close
        self.env, self.vector, self.num_envs = env, vector, vector.num_envs
        self.observation_space = vector.single_observation_space
        self.action_space = vector.single_action_space
        self._shown = ObservationReader(
            env, self.observation_space, self.action_space, self.num_envs
        )
        self.policy_observation_space = self._shown.space
        self._seeds = seeds
        self._own_generators = isinstance(vector, SyncVectorEnv | AsyncVectorEnv)
        self._episodes = np.full(self.num_envs, -1, np.int64)
        self._phantom = np.zeros(self.num_envs, bool)
        self._all, self._none = np.ones(self.num_envs, bool), np.zeros(self.num_envs, bool)
        steps: dict[AutoresetMode, Callable[[Any], Transition]] = {
            AutoresetMode.NEXT_STEP: self._step_next,
            AutoresetMode.SAME_STEP: self._step_same,
            AutoresetMode.DISABLED: self._step_disabled,
        }
        mode = autoreset_mode(vector, env)
        self._step, self.resets_at_once = steps[mode], mode != AutoresetMode.NEXT_STEP
        self._observation = np.empty(0)

    @property
    def action_mask(self) -> np.ndarray | None:
        """[N, entries]: the actions allowed next; None where the environment does not tell."""
        return None if self._shown.masks is None else self._shown.masks.allowed

    def begin(self, iteration: int) -> None:
        """Seed the generator that all rows share."""
        if not self._own_generators:
            self.vector.np_random = self._seeds.generator(iteration)

    def reset(self) -> np.ndarray:
        """Start a new episode in each row."""
        self._phantom[:] = False
        self._episodes += 1
        seeds = self._of_episodes()
        raw, info = self.vector.reset(seed=seeds if self._own_generators else seeds[0])
        self._observation = self._shown.first(raw, self._told(info))
        return self._observation

    def _of_episodes(self) -> Any:
        """The seed of each row's episode."""
        return [self._seeds.of_episode(*begun) for begun in enumerate(self._episodes.tolist())]

    def step(self, action: Any) -> Transition:
        """Step every row."""
        self._shown.count_step()
        return self._step(action)

    def origin(self, index: int, *, earlier: int = 0) -> str:
        """Rows begin their episodes themselves, from a generator."""
        return by_the_run(self._seeds.seed)

    def position(self) -> Attributes:
        """The rows' position: the arrays and numbers among the vector environment's attributes."""
        values = {f"own.{name}": np.array(value) for name, value in self._plain().items()}
        values |= {"phantom": self._phantom.copy(), "episodes": self._episodes.copy()}
        masks = self._shown.masks
        if masks is not None:
            values["mask"] = masks.allowed.copy()
        return Attributes(values | {"observation": np.array(self._observation)})

    def restore(self, saved: dict[str, np.ndarray]) -> tuple[np.ndarray, list[str]]:
        """Give the vector environment its arrays and numbers again.

        Whether it has other state is found by ``checks.exact_resume``, not here.
        """
        self.reset()
        now = self.position().values
        forms = {name: (array.shape, array.dtype) for name, array in now.items()}
        fits = forms == {name: (array.shape, array.dtype) for name, array in saved.items()}
        if not fits or not are_episode_numbers(saved["episodes"]):
            raise CheckpointError(
                f"The checkpoint does not say where the {self.num_envs} rows of `{self.env}` "
                "stood. It was saved with other environments, or another version of them; resume "
                "with the config.json and the version that it was saved with."
            )
        for name, value in self._plain().items():
            array = saved[f"own.{name}"]
            same = array.copy() if isinstance(value, np.ndarray) else type(value)(array.item())
            setattr(self.vector, name, same)
        self._phantom, self._episodes = saved["phantom"].copy(), saved["episodes"].copy()
        if self._shown.masks is not None:
            self._shown.masks.allowed[:] = saved["mask"]
        self._observation = saved["observation"].copy()
        return self._observation, []

    def close(self) -> None:
        """Free the environments."""
        self._free()

    def _plain(self) -> dict[str, Any]:
        """Attributes that are arrays or numbers."""
        kinds = np.ndarray | bool | int | float
        return {
            name: value
            for name, value in vars(self.vector).items()
            if isinstance(value, kinds) and name not in ("num_envs", "closed", "_np_random_seed")
        }

    def _told(self, info: dict[str, Any]) -> list[Any]:
        """The mask of each row's info; None where a row told none."""
        if MASK_KEY not in info:
            return [None] * self.num_envs
        given = info.get(f"_{MASK_KEY}", self._all)
        return [mask if given[i] else None for i, mask in enumerate(info[MASK_KEY])]

    def _see(self, raw: Any, info: dict[str, Any], ended: np.ndarray) -> np.ndarray:
        """What the step showed, as arrays."""
        seen = raw if self._shown.plain else self._shown.see(raw, self._told(info), ended)
        self._observation = seen
        return seen

    def _step_next(self, action: Any) -> Transition:
        """NEXT_STEP: the step after an end ignores the action and returns the reset observation."""
        raw, reward, terminated, truncated, info = self.vector.step(action)
        valid = ~self._phantom
        self._phantom = terminated | truncated
        after = self._see(raw, info, self._phantom)
        numbers = self._numbers(info, self._phantom)
        return Transition(after, after, reward, terminated, truncated, valid, numbers)

    def _step_same(self, action: Any) -> Transition:
        """SAME_STEP: the observation is the next episode's, the final one comes in the info."""
        raw, reward, terminated, truncated, info = self.vector.step(action)
        ended = terminated | truncated
        after = self._see(raw, info, self._none)
        if not ended.any():
            return Transition(after, after, reward, terminated, truncated, self._all)
        final, told = np.array(after), self._final(info)
        for i in np.flatnonzero(ended):
            final[i] = self._shown.encode(batch_of_one(told[i]))[0]
        numbers = self._numbers(info.get("final_info", {}), ended)
        return Transition(after, final, reward, terminated, truncated, self._all, numbers)

    def _step_disabled(self, action: Any) -> Transition:
        """DISABLED: a row whose episode ended is reset by us, at once, and the others are left."""
        raw, reward, terminated, truncated, info = self.vector.step(action)
        ended = terminated | truncated
        if not ended.any():
            after = self._see(raw, info, self._none)
            return Transition(after, after, reward, terminated, truncated, self._all)
        # Copies: the environment may write the reset into the arrays that it returned.
        final, told = np.array(self._shown.encode(raw)), self._told(info)
        ends = np.array(reward), np.array(terminated), np.array(truncated)
        numbers = self._numbers(info, ended)
        self._episodes[ended] += 1
        seeds = self._of_episodes() if self._own_generators else None
        raw, begun = self.vector.reset(seed=seeds, options={"reset_mask": ended})
        first = self._told(begun)
        masks = [first[i] if ended[i] else told[i] for i in range(self.num_envs)]
        after = raw if self._shown.plain else self._shown.see(raw, masks, self._none)
        self._observation = after
        return Transition(after, final, *ends, self._all, numbers)

    def _numbers(self, info: Any, ended: np.ndarray) -> dict[int, Numbers] | None:
        """What the infos of episodes that ended tell in numbers.

        The `final_info` of SAME_STEP is an info of arrays, or, before Gymnasium 1.0, one of each.
        """
        # An info that tells nothing, as most do at each step, is not looked at.
        if not len(info) or not ended.any():
            return None
        rows = np.flatnonzero(ended)
        if isinstance(info, dict):
            return numbers_of_rows(info, rows)
        return {int(i): numbers_of(info[i] or {}) for i in rows}

    def _final(self, info: dict[str, Any]) -> Any:
        """What the episodes ended with, by row."""
        for name in FINAL:
            if name in info:
                return info[name]
        raise EnvironmentFault(
            f"The vector environment of `{self.env}` resets a row in the step that ends its "
            f"episode (SAME_STEP), but the info of that step has no {FINAL[0]!r}, only "
            f"{sorted(info)}: what the episode ended with is lost. Return it as "
            f"`info[{FINAL[0]!r}][row]`, or train with `vectorization='sync'`."
        )


def autoreset_mode(vector: VectorEnv[Any, Any, Any], env: str) -> AutoresetMode:
    """How a vector environment resets its rows; an error where it does not say."""
    mode = vector.metadata.get("autoreset_mode")
    if not isinstance(mode, AutoresetMode):
        raise EnvironmentFault(
            f"The vector environment of {env} does not say how it resets: its "
            f"metadata['autoreset_mode'] is {mode!r}, expected NEXT_STEP, SAME_STEP or DISABLED "
            "of gymnasium.vector.AutoresetMode. Set it in the environment's class, or train with "
            "`vectorization='sync'`."
        )
    return mode
