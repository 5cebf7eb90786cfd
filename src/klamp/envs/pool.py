"""EnvPool: many environments stepped by threads of its own, in C++ (``envpool:ID``).

It resets its rows itself: the step after an end ignores the action, pays nothing and shows the
first observation of the next episode (Gymnasium's NEXT_STEP). Half of the rows step while the
policy acts for the others. It can neither be asked where its environments stand nor be told, so a
resumed run begins their episodes anew.
"""

import contextlib
import warnings
from collections.abc import Callable, Generator
from functools import partial
from importlib import import_module
from typing import Any, NamedTuple

import jax
import numpy as np

from klamp.compilation import cores
from klamp.envs.copies import one_line
from klamp.envs.host import Shown, Transition, are_episode_numbers
from klamp.errors import CheckpointError, EnvironmentFault, closest
from klamp.seeding import Purpose, environment_seed

PREFIX = "envpool:"


class PoolPosition(NamedTuple):
    """How many pools the run has had; all that can be known."""

    pools: int

    def arrays(self) -> dict[str, np.ndarray]:
        """By name."""
        return {"pools": np.asarray(self.pools, np.int64)}


class Half:
    """Rows with threads of their own, which step them while the policy acts for the others."""

    def __init__(self, pool: Any, rows: slice, encode: Callable[[Any], np.ndarray]) -> None:
        self.pool, self.rows, self._encode = pool, rows, encode
        self._after_end = np.zeros(rows.stop - rows.start, bool)

    def reset(self) -> Any:
        """Start a new episode in each row; what they show."""
        self._after_end = np.zeros_like(self._after_end)
        return self.pool.reset()[0]

    def send(self, action: Any) -> None:
        """Begin a step."""
        self.pool.send(action)

    def receive(self) -> Transition:
        """Its end; a row whose episode had ended shows the first observation of the next."""
        raw, reward, terminated, truncated, _ = self.pool.recv()
        valid = ~self._after_end
        self._after_end = terminated | truncated
        seen = self._encode(raw)
        return Transition(seen, seen, reward, terminated, truncated, valid)


class PoolEnvironments:
    """``HostEnvironments`` over two pools of half the rows; each row has a seed of its own."""

    def __init__(self, env: str, num_envs: int, seed: int, purpose: Purpose) -> None:
        self.env, self.num_envs = env, num_envs
        self._seed, self._purpose, self._pools = seed, purpose, 0
        pools = self._made()
        self.observation_space = pools[0].observation_space
        self.action_space = pools[0].action_space
        self._shown = Shown(env, self.observation_space, self.action_space, num_envs)
        self.seen_space = self._shown.space
        self.parts = self._halves(pools)

    @property
    def action_mask(self) -> np.ndarray | None:
        """EnvPool's environments allow every action."""
        return None

    def begin(self, iteration: int) -> None:
        """Each row draws from a generator of its own, which goes on."""

    def reset(self) -> np.ndarray:
        """Start a new episode in each row."""
        raw = _joined([half.reset() for half in self.parts])
        return self._shown.first(raw, [None] * self.num_envs)

    def step(self, action: Any) -> Transition:
        """Step every row."""
        for half in self.parts:
            half.send(jax.tree.map(lambda leaf, rows=half.rows: leaf[rows], action))
        return _joined([half.receive() for half in self.parts])

    def episode_seed(self, index: int, *, earlier: int = 0) -> int:
        """The seed that the row's generator began from, episodes ago."""
        return environment_seed(self._seed, self._purpose, index, self._pools)

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
        self.parts = self._halves(self._made())
        return self.reset(), [
            "EnvPool cannot put environments back where they stood, so all episodes began anew"
        ]

    def close(self) -> None:
        """Free the environments."""
        for half in self.parts:
            half.pool.close()

    def _halves(self, pools: list[Any]) -> tuple[Half, ...]:
        return tuple(map(partial(Half, encode=self._shown.encode), pools, halves(self.num_envs)))

    def _made(self) -> list[Any]:
        """A pool for each half, each row with a seed of its own."""
        envpool, name = _library(self.env), self.env.removeprefix(PREFIX)
        known = envpool.list_all_envs()
        if name not in known:
            raise EnvironmentFault(
                f"There is no environment `{self.env}`: EnvPool knows none by the name `{name}`."
                f"{closest(name, known, 3)} Expected one of its own names after the colon."
            )
        seeds = [self.episode_seed(index) for index in range(self.num_envs)]
        try:
            with _quietly():
                return [_pool(envpool, name, seeds[rows]) for rows in halves(self.num_envs)]
        except Exception as error:
            raise EnvironmentFault(
                f"The environment `{self.env}` could not be made: {type(error).__name__}: "
                f"{one_line(error)} Check its name and the version of EnvPool."
            ) from error


def halves(num_envs: int) -> list[slice]:
    """The rows in two parts, on however many cores: what is computed does not depend on them."""
    middle = -(-num_envs // 2)
    ends = [(0, middle), (middle, num_envs)]
    return [slice(first, last) for first, last in ends if first < last]


def _pool(envpool: Any, name: str, seeds: list[int]) -> Any:
    threads = min(cores(), len(seeds))
    pool = envpool.make_gymnasium(name, num_envs=len(seeds), num_threads=threads, seed=seeds)
    # It makes its spaces when they are first asked for.
    _ = pool.observation_space, pool.action_space
    return pool


def _joined(parts: list[Any]) -> Any:
    """Parts of rows as one."""
    return jax.tree.map(lambda *leaves: np.concatenate(leaves), *parts)


@contextlib.contextmanager
def _quietly() -> Generator[None]:
    """What the library and its spaces say of themselves is not about the run."""
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
            'Do `pip install "klamp[envpool]"` (Linux); or train '
            f"`{env.removeprefix(PREFIX)}` with Gymnasium's own environment."
        ) from error
