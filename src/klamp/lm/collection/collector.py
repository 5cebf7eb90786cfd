"""What a run collects between two updates: completions, and what they earned."""

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, PRNGKeyArray

from klamp.lm.collection.shares import SHOWN, Part, played_by_all
from klamp.lm.config.settings import Settings
from klamp.lm.environments.environment import play
from klamp.lm.learning.advantages import without_spread
from klamp.lm.networks.decoder import Decoder
from klamp.lm.networks.generation import Sampling
from klamp.lm.tasks.task import Task
from klamp.lm.tokens.sequences import Completions
from klamp.runs.metrics_log import Metrics
from klamp.runtime.joined import ALONE, Processes
from klamp.runtime.seeding import Purpose, key


class Played(NamedTuple):
    """S completions, those of one prompt in a row."""

    completions: Completions
    returns: Float[np.ndarray, " S"]
    """What each earned, undiscounted."""
    lengths: Float[np.ndarray, " S"]
    """Tokens that were sampled for each."""
    sampled: int
    """Tokens sampled in all, those that were thrown away included."""
    by_name: dict[str, Float[np.ndarray, " S"]]
    """Each reward function's own number; NaN where it does not apply."""
    correct: Float[np.ndarray, " S"] | None
    """1 for an exact answer, 0 for any other; None where the task has no exact answers."""
    samples: list[dict[str, Any]]
    """Some of them as text, as `completions.jsonl` has them."""

    @property
    def accuracy(self) -> float:
        """The share of exact answers; NaN where there are none."""
        return float("nan") if self.correct is None else float(self.correct.mean())

    def metrics(self) -> Metrics:
        """What the line of an update says of its completions."""
        named = {f"reward_{name}": _mean(values) for name, values in self.by_name.items()}
        cut = np.any(np.asarray(self.completions.truncated), axis=1)
        return {
            "reward_mean": float(self.returns.mean()),
            **named,
            "completion_length_mean": float(self.lengths.mean()),
            "truncated_share": float(cut.mean()),
        }


class Collector(Protocol):
    """Where completions come from."""

    @property
    def exact(self) -> bool:
        """Whether an answer is right or wrong."""
        ...

    def collect(self, decoder: Decoder, update: int) -> Played:
        """The completions of one update: a function of the decoder, the seed and the update."""
        ...

    def evaluated(self, decoder: Decoder, count: int, *, seed: int, deterministic: bool) -> Played:
        """Answers to ``count`` prompts drawn for evaluation: the most probable, or sampled."""
        ...


class TaskCollector:
    """Completions of a built-in task, which is written in JAX.

    Prompt number n of a run is a function of the seed and n; what is sampled for it, of the seed,
    the update, and its place in the batch.
    """

    def __init__(self, task: Task, settings: Settings, processes: Processes = ALONE) -> None:
        """``processes`` share the rows of each update."""
        self._task, self._settings, self._processes = task, settings, processes

    @property
    def exact(self) -> bool:
        """Whether an answer is right or wrong."""
        return self._task.exact

    def collect(self, decoder: Decoder, update: int) -> Played:
        """The completions of one update."""
        settings = self._settings
        sampling = Sampling(settings.temperature)

        def draw(number: int) -> Completions:
            first = (update * (1 + settings.redraw_groups) + number) * settings.prompts
            prompts = np.repeat(first + np.arange(settings.prompts), settings.generations)
            noise = jax.random.fold_in(key(settings.seed, Purpose.ACT, update), number)
            data = key(settings.seed, Purpose.EPISODE)

            def play(rows: np.ndarray) -> Part:
                found = self._play(decoder, data, prompts[rows], noise, rows, sampling)
                return Part(found, {}, [])

            shares = (settings.completions, settings.shards, self._processes)
            return played_by_all(play, *shares).completions

        completions, sampled = with_spread(draw, settings)
        return self._played(completions, sampled)

    def evaluated(self, decoder: Decoder, count: int, *, seed: int, deterministic: bool) -> Played:
        """Answers to ``count`` prompts that are drawn for evaluation."""
        sampling = Sampling(self._settings.temperature, greedy=deterministic)
        data, noise = key(seed, Purpose.EVALUATE), key(seed, Purpose.ACT_EVALUATED)
        prompts = np.arange(count)
        found = self._play(decoder, data, prompts, noise, prompts, sampling)
        return self._played(found, sampled_tokens(found))

    def _play(
        self,
        decoder: Decoder,
        data: PRNGKeyArray,
        prompts: np.ndarray,
        noise: PRNGKeyArray,
        rows: np.ndarray,
        sampling: Sampling,
    ) -> Completions:
        """Episodes of prompts, which are so many rows of their batch."""
        # From NumPy, for which no program is compiled.
        places, numbers = (jax.device_put(part.astype(np.int32)) for part in (rows, prompts))
        return play(decoder, self._task.environment, data, numbers, noise, places, sampling)

    def _played(self, completions: Completions, sampled: int) -> Played:
        returns, lengths = scores(completions)
        correct = (returns > 1 - 1e-6).astype(float) if self._task.exact else None
        samples = written(completions, returns, self._task.decode)
        return Played(completions, returns, lengths, sampled, {}, correct, samples)


def written(
    completions: Completions,
    returns: Float[np.ndarray, " S"],
    decode: Callable[[list[int]], str],
) -> list[dict[str, Any]]:
    """The first completions as text; of several turns, with what was answered between them."""
    count = min(SHOWN, len(returns))
    names = ("tokens", "valid", "positions", "weight", "terminated")
    parts = [np.asarray(getattr(completions, name))[:count] for name in names]
    lines: list[dict[str, Any]] = []
    for row in range(count):
        tokens, valid, positions, weight, terminated = (part[row] for part in parts)
        ids, begins = tokens[valid].tolist(), int(positions[0]) + 1
        lines.append(
            {
                "prompt": decode(ids[:begins]),
                "completion": decode(ids[begins:]),
                "reward": float(returns[row]),
                "length": int(weight.sum()),
                "finished": bool(terminated.any()),
            }
        )
    return lines


def scores(
    completions: Completions,
) -> tuple[Float[np.ndarray, " S"], Float[np.ndarray, " S"]]:
    """The undiscounted return and the number of sampled tokens of each completion."""
    weight, reward = np.asarray(completions.weight), np.asarray(completions.reward)
    return np.where(weight > 0, reward, 0).sum(1, dtype=float), weight.sum(1, dtype=float)


def sampled_tokens(completions: Completions) -> int:
    """The tokens that the policy sampled, in all completions."""
    return int(np.asarray(completions.weight).sum())


def with_spread(draw: Callable[[int], Completions], settings: Settings) -> tuple[Completions, int]:
    """One batch of completions, and how many tokens were sampled for it.

    Groups whose completions all earned the same are drawn again, up to ``redraw_groups`` times
    (dynamic sampling, arXiv:2503.14476, §3.2). Where too few others are found, they fill the batch.
    """
    batch = draw(0)
    sampled = sampled_tokens(batch)
    for number in range(1, settings.redraw_groups + 1):
        idle = np.asarray(without_spread(jnp.asarray(scores(batch)[0]), settings.generations))
        if not idle.any():
            break
        more = draw(number)
        sampled += sampled_tokens(more)
        good = ~np.asarray(without_spread(jnp.asarray(scores(more)[0]), settings.generations))
        places, found = np.flatnonzero(idle), np.flatnonzero(good)
        count = min(len(places), len(found))
        source = np.arange(settings.prompts)
        source[places[:count]] = settings.prompts + found[:count]
        rows = source[:, None] * settings.generations + np.arange(settings.generations)
        batch = _rows_of_both(batch, more, rows.ravel())
    return batch, sampled


def _rows_of_both(one: Completions, other: Completions, rows: np.ndarray) -> Completions:
    """These rows of two batches, one behind the other; both are made as long as the longer."""

    def joined(a: Any, b: Any) -> Any:
        if a.ndim > 1:
            width = max(a.shape[1], b.shape[1])
            a, b = (jnp.pad(x, ((0, 0), (0, width - x.shape[1]))) for x in (a, b))
        return jnp.concatenate([a, b])[rows]

    found: Completions = jax.tree.map(joined, one, other)
    return found


def _mean(values: Float[np.ndarray, " S"]) -> float:
    """The mean of the numbers that there are; NaN where there are none."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else float("nan")
