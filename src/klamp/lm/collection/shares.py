"""The completions of an update in shards: each process plays its own, and hears of all others.

What is written in a shard depends on θ, the seed, the update and the rows' own numbers. So the
completions of a run do not depend on which of its processes plays which of them.
"""

import json
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Float, Int

from klamp.collection.collector import under
from klamp.lm.tokens.sequences import Completions
from klamp.runtime.joined import Arrays, Processes

SHOWN = 8
"""Completions of each update that are kept as text, at most."""


class Part(NamedTuple):
    """Completions of some rows, and what is known of them besides."""

    completions: Completions
    by_name: dict[str, Float[np.ndarray, " S"]]
    """Each reward function's own number; NaN where it does not apply."""
    samples: list[dict[str, Any]]
    """The first of them as text."""


def played_by_all(
    play: Callable[[Int[np.ndarray, " R"]], Part], rows: int, shards: int, processes: Processes
) -> Part:
    """All rows of a batch, in each of the processes; ``play`` plays those with these numbers.

    Each shard is played by itself, so that what its number of rows does to the rounding of a
    product does not depend on the number of processes.
    """
    if shards == 1:
        return play(np.arange(rows))
    own, each = shards // processes.count, rows // shards
    first = processes.index * own

    def make() -> Arrays:
        told: Arrays = {}
        for shard in range(first, first + own):
            part = arrays_of(play(np.arange(shard * each, (shard + 1) * each)))
            told |= {f"{shard}.{name}": array for name, array in part.items()}
        return told

    told: Arrays = {}
    for part in processes.exchange(make):
        told |= part
    return joined([part_of(under(f"{shard}.", told)) for shard in range(shards)])


def own_rows(completions: Completions, processes: Processes) -> Completions:
    """Of the completions that all processes know, those that this one holds in the update."""
    if processes.count == 1:
        return completions
    rows = len(completions.reward) // processes.count
    own = slice(processes.index * rows, (processes.index + 1) * rows)
    return jax.tree.map(lambda leaf: leaf[own], completions)


def arrays_of(part: Part) -> Arrays:
    """A part as arrays by name, as one process tells it to the others."""
    known = part.completions._asdict().items()
    letters = np.frombuffer(json.dumps(part.samples).encode(), np.uint8)
    return {
        **{f"completions.{name}": np.asarray(leaf) for name, leaf in known if leaf is not None},
        **{f"reward.{name}": values for name, values in part.by_name.items()},
        "samples": letters,
    }


def part_of(told: Arrays) -> Part:
    """The inverse of ``arrays_of``."""
    leaves: dict[str, Any] = under("completions.", told)
    samples = json.loads(told["samples"].tobytes())
    return Part(Completions(**leaves), under("reward.", told), samples)


def joined(parts: Sequence[Part]) -> Part:
    """The batch of which these are the rows, in their order; all are made as long as the longest.

    What a shorter one has not is 0, as behind the end of every sequence.
    """

    def together(name: str) -> Any:
        leaves = [getattr(part.completions, name) for part in parts]
        if leaves[0] is None or leaves[0].ndim == 1:
            return None if leaves[0] is None else np.concatenate(leaves)
        width = max(leaf.shape[1] for leaf in leaves)
        return np.concatenate([np.pad(x, ((0, 0), (0, width - x.shape[1]))) for x in leaves])

    return Part(
        Completions(**{name: together(name) for name in Completions._fields}),
        {name: np.concatenate([part.by_name[name] for part in parts]) for name in parts[0].by_name},
        [sample for part in parts for sample in part.samples][:SHOWN],
    )
