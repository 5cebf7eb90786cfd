"""Collection in shards: groups of environments, each with its collector and random numbers.

What a shard collects depends on its own index alone. So the rollout of a run, put together in the
order of the shards, does not depend on which of the run's processes stepped which of them.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np

from klamp.collection.collector import BehaviorPolicy, Collected, Collector, Summary, never, under
from klamp.envs.host.info_numbers import MOST_NUMBERS
from klamp.envs.host.interface import Position
from klamp.mathematics.normalization import Moments, update_moments
from klamp.runtime.joined import Arrays, Processes
from klamp.runtime.seeding import key_of
from klamp.types import Rollout

NO_SEED = -1
"""What stands for the seed of an episode that has none of its own."""

POSITION = "position"
"""The command that asks the other processes where their environments stand."""

ADVANCE = "advance"
"""The command that has them make an iteration."""

END = "end"
"""The command that tells them of the end of a run."""


class ShardedPosition(NamedTuple):
    """Where the shards stand."""

    first: int
    """The index of this process's first shard."""
    shards: list[Position]
    processes: Processes

    def arrays(self) -> Arrays:
        """All of the run's, in process 0; there the others are asked for theirs."""
        whole = self.own()
        for part in self.processes.gather(POSITION):
            whole |= part
        return whole

    def own(self) -> Arrays:
        """Those of this process."""
        return {
            f"{self.first + place}.{name}": array
            for place, shard in enumerate(self.shards)
            for name, array in shard.arrays().items()
        }


class ShardedCollector:
    """The collectors of this process's shards as one, whose summaries are of all processes."""

    def __init__(
        self, collectors: Sequence[Collector], first: int, rows: int, processes: Processes
    ) -> None:
        """``first`` is the index of the first of them, and each has ``rows`` environments."""
        self.collectors, self._first, self._rows = list(collectors), first, rows
        self._processes = processes

    def compile(self, behavior: BehaviorPolicy) -> Rollout:
        """Compile what ``collect`` calls; the shapes of this process's rollout."""
        shapes, *_ = [
            collector.compile(self._of(behavior, place))
            for place, collector in enumerate(self.collectors)
        ]
        rows = self._rows * len(self.collectors)

        def wider(leaf: Any) -> Any:
            return jax.ShapeDtypeStruct((leaf.shape[0], rows, *leaf.shape[2:]), leaf.dtype)

        return cast(Rollout, jax.tree.map(wider, shapes))

    def collect(self, behavior: BehaviorPolicy, check: Callable[[], None] = never) -> Collected:
        """The rollout of this process, and the summary of all of them."""
        collected: list[Collected] = []

        def make() -> Arrays:
            for place, collector in enumerate(self.collectors):
                collected.append(collector.collect(self._of(behavior, place), check))
            own: Arrays = {}
            for place, (_, summary) in enumerate(collected):
                part = arrays_of(summary)
                own |= {f"{self._first + place}.{name}": part[name] for name in part}
            return own

        self._processes.lead(ADVANCE)
        told = [part for part in self._processes.exchange(make) if part]
        summaries = [summary for part in told for summary in summaries_of(part)]
        return Collected(side_by_side([each.rollout for each in collected]), merged(summaries))

    def position(self) -> ShardedPosition:
        """Where the shards of this process stand."""
        shards = [collector.position() for collector in self.collectors]
        return ShardedPosition(self._first, shards, self._processes)

    def restore(self, saved: Arrays) -> list[str]:
        """Restore the shards of this process; what could not be, in any of them."""
        problems: list[str] = []

        def make() -> Arrays:
            for place, collector in enumerate(self.collectors):
                problems.extend(collector.restore(under(f"{self._first + place}.", saved)))
            return {"problems": _letters("\n".join(problems))}

        told = [_text(part["problems"]) for part in self._processes.exchange(make)]
        return [problem for text in told for problem in text.splitlines()]

    def restart(self, iteration: int) -> None:
        """A new episode in every environment."""
        for collector in self.collectors:
            collector.restart(iteration)

    def close(self) -> None:
        """Free the environments."""
        for collector in self.collectors:
            collector.close()

    def _of(self, behavior: BehaviorPolicy, place: int) -> BehaviorPolicy:
        """The policy as it acts in one of the shards, with random numbers of its own."""
        shard = self._first + place
        keys = behavior.dropout_key
        if keys is not None:
            keys = keys[:, shard * self._rows : (shard + 1) * self._rows]
        key = jax.random.fold_in(key_of(behavior.key_words), shard)
        words = np.asarray(jax.random.key_data(key))
        return behavior._replace(key_words=words, dropout_key=keys)


def side_by_side(rollouts: Sequence[Rollout]) -> Rollout:
    """Rollouts [T, N/S, …] as one, [T, N, …]."""
    if len(rollouts) == 1:
        return rollouts[0]

    def join(*leaves: Any) -> Any:
        xp: Any = np if isinstance(leaves[0], np.ndarray) else jnp
        return xp.concatenate(leaves, axis=1)

    return cast(Rollout, jax.tree.map(join, *rollouts))


def arrays_of(summary: Summary) -> Arrays:
    """A summary as arrays by name, as one process tells it to the others."""
    seeds = list(_seeds(summary))
    told = {
        "reward": summary.reward,
        "ended": summary.ended,
        "valid": summary.valid,
        "terminated": summary.terminated,
        "fault": _letters(summary.fault or ""),
        "seeds": np.array([NO_SEED if seed is None else seed for seed in seeds], np.int64),
    }
    if summary.observation is not None:
        told |= {f"moments.{name}": part for name, part in summary.observation._asdict().items()}
    told |= {f"number.{name}": values for name, values in summary.numbers.items()}
    return {name: np.asarray(array) for name, array in told.items()}


def _seeds(summary: Summary) -> list[int | None]:
    """The seed of each episode that ended, in the order of ``np.nonzero(ended)``."""
    left = summary.ended.sum(0)
    found: list[int | None] = []
    for index in np.nonzero(summary.ended)[1].tolist():
        found.append(summary.episode_seed(index, int(left[index])))
        left[index] -= 1
    return found


def summaries_of(told: Arrays) -> list[Summary]:
    """The summaries of the shards of one process, in their order."""
    shards = sorted({int(name.partition(".")[0]) for name in told})
    return [_summary(under(f"{shard}.", told)) for shard in shards]


def _summary(part: Arrays) -> Summary:
    """The inverse of ``arrays_of``."""
    moments = under("moments.", part)
    of_row = _by_row(part["ended"], part["seeds"].tolist())
    return Summary(
        part["reward"],
        part["ended"],
        part["valid"],
        Moments(**moments) if moments else None,
        _text(part["fault"]) or None,
        part["terminated"],
        under("number.", part),
        of_row,
    )


def _by_row(ended: np.ndarray, seeds: list[int]) -> Callable[[int, int], int | None]:
    """``episode_seed`` of the episodes that ended, from their seeds."""
    rows: dict[int, list[int]] = {}
    for index, seed in zip(np.nonzero(ended)[1].tolist(), seeds, strict=True):
        rows.setdefault(index, []).append(seed)

    def episode_seed(index: int, earlier: int) -> int | None:
        seed = rows[index][-earlier]
        return None if seed == NO_SEED else seed

    return episode_seed


def merged(shards: Sequence[Summary]) -> Summary:
    """The summary of a rollout of which these are the shards, in their order."""
    reward, ended, valid, terminated = (
        np.concatenate([getattr(shard, name) for shard in shards], axis=1)
        for name in ("reward", "ended", "valid", "terminated")
    )
    ends = [np.nonzero(shard.ended) for shard in shards]
    widths = np.cumsum([0, *(shard.reward.shape[1] for shard in shards)])
    times = np.concatenate([time for time, _ in ends])
    rows = np.concatenate([row + first for (_, row), first in zip(ends, widths, strict=False)])
    order = np.lexsort((rows, times))
    names = sorted({name for shard in shards for name in shard.numbers})[:MOST_NUMBERS]

    def numbers(name: str) -> np.ndarray:
        missing = [np.full(len(time), np.nan) for time, _ in ends]
        parts = [s.numbers.get(name, none) for s, none in zip(shards, missing, strict=True)]
        return np.concatenate(parts)[order]

    def episode_seed(index: int, earlier: int) -> int | None:
        shard = int(np.searchsorted(widths, index, side="right")) - 1
        return shards[shard].episode_seed(index - int(widths[shard]), earlier)

    fault = next((shard.fault for shard in shards if shard.fault is not None), None)
    told = {name: numbers(name) for name in names}
    return Summary(
        reward, ended, valid, _merged_moments(shards), fault, terminated, told, episode_seed
    )


def _merged_moments(shards: Sequence[Summary]) -> Moments | None:
    """The moments of all observations, by Chan's rule in float64, in the order of the shards."""
    known = [shard.observation for shard in shards if shard.observation is not None]
    if not known:
        return None
    first, *others = known
    whole = Moments(*(np.asarray(part, np.float64) for part in first))
    for other in others:
        whole = update_moments(whole, other) if whole.samples else other
    return whole


def _letters(text: str) -> np.ndarray:
    return np.frombuffer(text.encode(), np.uint8)


def _text(letters: np.ndarray) -> str:
    return letters.tobytes().decode()
