"""EnvPool: many environments stepped by threads of its own, in C++ (``envpool:ID``).

It resets its rows itself: the step after an end ignores the action, has reward 0 and returns the
first observation of the next episode (Gymnasium's NEXT_STEP). The position of its environments can
be neither read nor set, so a resumed run restarts their episodes.
"""

import contextlib
import os
import warnings
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any, NamedTuple

import numpy as np

from klamp.config.environment_name import POOL
from klamp.envs.device.source import only_auto
from klamp.envs.host.info_numbers import numbers_of_rows
from klamp.envs.host.interface import HostEnvironments, Transition, are_episode_numbers, by_the_run
from klamp.envs.spaces.observation_reader import ObservationReader
from klamp.errors import CheckpointError, EnvironmentFault, closest, install_extra, one_line
from klamp.runtime.processes import cores
from klamp.runtime.seeding import EnvironmentSeeds

OF_THE_POOL = ("env_id", "elapsed_step", "reward", "terminated")
"""Entries of EnvPool's info that are not metrics: its own numbers, and what ``step`` returns
anyway."""


class PoolPosition(NamedTuple):
    """How many pools the run has had, which is all that is known."""

    pools: int

    def arrays(self) -> dict[str, np.ndarray]:
        """By name."""
        return {"pools": np.asarray(self.pools, np.int64)}


@dataclass(frozen=True)
class PoolSource:
    """``EnvironmentSource`` of a pool."""

    name: str
    env_kwargs: Mapping[str, Any]

    exact = False
    wrappers: tuple[str, ...] = ()
    rows: None = None
    one: None = None
    """No copy can be stepped by itself."""

    @property
    def title(self) -> str:
        """The environment in messages."""
        return self.name

    def device(self, vectorization: str) -> None:
        """It is stepped on the host."""
        only_auto(self.name, vectorization)

    def together(self, num_envs: int, vectorization: str) -> bool:
        """All rows are one pool."""
        return True

    def host(
        self,
        num_envs: int,
        seeds: EnvironmentSeeds,
        *,
        vectorization: str = "auto",
        step_limit_s: float = 60.0,
    ) -> HostEnvironments:
        """A pool."""
        only_auto(self.name, vectorization)
        return PoolEnvironments(self.name, num_envs, seeds, self.env_kwargs)


class PoolEnvironments:
    """``HostEnvironments`` over a pool; each row's generator has a seed of its own."""

    def __init__(
        self, env: str, num_envs: int, seeds: EnvironmentSeeds, env_kwargs: Mapping[str, Any]
    ) -> None:
        self.env, self.num_envs, self._env_kwargs = env, num_envs, dict(env_kwargs)
        self._seeds, self._pools = seeds, 0
        self._pool = self._made()
        self.observation_space = self._pool.observation_space
        self.action_space = self._pool.action_space
        self._shown = ObservationReader(env, self.observation_space, self.action_space, num_envs)
        self.policy_observation_space = self._shown.space
        self._after_end = np.zeros(num_envs, bool)

    @property
    def action_mask(self) -> np.ndarray | None:
        """EnvPool's environments allow every action."""
        return None

    def begin(self, iteration: int) -> None:
        """Nothing to do: each row draws from its own generator."""

    def reset(self) -> np.ndarray:
        """Start a new episode in each row."""
        self._after_end = np.zeros(self.num_envs, bool)
        raw, _ = self._pool.reset()
        return self._shown.first(raw, [None] * self.num_envs)

    def step(self, action: Any) -> Transition:
        """Step every row; one whose episode had ended shows the first observation of the next."""
        raw, reward, terminated, truncated, info = self._pool.step(action)
        valid = ~self._after_end
        self._after_end = terminated | truncated
        seen, numbers = self._shown.encode(raw), None
        if self._after_end.any():
            told = {name: info[name] for name in info if name not in OF_THE_POOL}
            numbers = numbers_of_rows(told, np.flatnonzero(self._after_end))
        return Transition(seen, seen, reward, terminated, truncated, valid, numbers)

    def origin(self, index: int, *, earlier: int = 0) -> str:
        """Rows begin their episodes themselves, each from a generator that goes on."""
        again = "" if not self._pools else ", if it is resumed from the same checkpoint"
        return f"{by_the_run(self._seeds.seed)}{again}"

    def position(self) -> PoolPosition:
        """How many pools there have been."""
        return PoolPosition(self._pools)

    def restore(self, saved: dict[str, np.ndarray]) -> tuple[np.ndarray, list[str]]:
        """A new pool, from seeds that no pool before had."""
        found = saved.get("pools", np.empty(0))
        if found.shape != () or found.dtype != np.int64 or not are_episode_numbers(found):
            raise CheckpointError(
                f"The checkpoint does not say how many pools of `{self.env}` there were. It was "
                "saved with other environments; resume with the config.json it was saved with."
            )
        self.close()
        self._pools = int(found) + 1
        self._pool = self._made()
        return self.reset(), [
            "EnvPool cannot put environments back where they stood, so all episodes began anew"
        ]

    def close(self) -> None:
        """Free the environments."""
        self._pool.close()

    def _made(self) -> Any:
        """A pool, each row with a seed of its own."""
        envpool, name = _library(self.env), self.env.removeprefix(POOL)
        known = envpool.list_all_envs()
        if name not in known:
            raise EnvironmentFault(
                f"There is no environment `{self.env}`: EnvPool knows none by the name `{name}`."
                f"{closest(name, known, 3)} Expected one of its own names after the colon."
            )
        seeds = [self._seeds.of_episode(row, self._pools) for row in range(self.num_envs)]
        threads = min(cores(), self.num_envs)
        try:
            with _quietly():
                pool = envpool.make_gymnasium(
                    name,
                    **self._env_kwargs,
                    num_envs=self.num_envs,
                    num_threads=threads,
                    thread_affinity_offset=first_core(threads),
                    seed=seeds,
                )
                # It makes its spaces when they are first read.
                _ = pool.observation_space, pool.action_space
                return pool
        except Exception as error:
            remedy = "Check its name and the version of EnvPool."
            if self._env_kwargs:
                remedy = f"Check `env_kwargs`, {self._env_kwargs}, and the version of EnvPool."
            raise EnvironmentFault(
                f"The environment `{self.env}` could not be made: {type(error).__name__}: "
                f"{one_line(error)} {remedy}"
            ) from error


def first_core(threads: int) -> int:
    """The core that the first thread is to stay on, each other on the next; −1: on any.

    Otherwise threads that are woken together often share a core, and a step takes 1.5 times as
    long. Threads are pinned only if there is one for each core that this process may use: fewer
    would share cores with those of another run.
    """
    allowed = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    first = allowed[0] if allowed else -1
    return first if allowed == list(range(first, first + threads)) else -1


@contextlib.contextmanager
def _quietly() -> Generator[None]:
    """Suppress messages of the library, which are not about the run."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _library(env: str) -> Any:
    try:
        with _quietly():
            return import_module("envpool")
    except ImportError as error:
        raise EnvironmentFault(
            f"The environment `{env}` needs EnvPool, which cannot be imported ({one_line(error)}). "
            f"{install_extra('envpool')} It is made for Linux only: elsewhere train "
            f"`{env.removeprefix(POOL)}` with Gymnasium's own environment."
        ) from error
