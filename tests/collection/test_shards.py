"""A rollout in shards is the same, to the bit, whichever process steps which of them."""

from typing import Any

import jax
import numpy as np
import pytest
from jax_environments import CartPole
from joined_threads import in_each, joined_threads

import klamp
from klamp.collection.collector import Summary
from klamp.collection.shards import POSITION, arrays_of, merged, summaries_of
from klamp.envs.source import resolve
from klamp.mathematics.normalization import kept_moments, moments_of
from klamp.runtime.joined import ALONE
from klamp.training.iteration import start
from klamp.training.state import behavior_policy

T, N = 24, 8


def summary(rng: np.random.Generator, rows: int, shift: float) -> Summary:
    """One with episodes that end, and observations far from zero."""
    ended = rng.random((T, rows)) < 0.2
    seeds = rng.integers(0, 1000, (rows, T + 1)).tolist()
    observation = rng.normal(shift, 1e-3, (T, rows, 3)).astype(np.float32)
    return Summary(
        rng.normal(size=(T, rows)).astype(np.float32),
        ended,
        rng.random((T, rows)) < 0.9,
        kept_moments(observation, np.ones((T, rows), bool)),
        None,
        ended,
        {"height": rng.normal(size=ended.sum())} if shift < 1000 else {},
        lambda index, earlier: seeds[index][earlier],
    )


def test_summaries_are_put_together_as_if_they_were_of_one_collector() -> None:
    rng = np.random.default_rng(0)
    shards = [summary(rng, rows, shift) for rows, shift in ((3, 500.0), (2, 501.0), (3, 1000.0))]
    whole = merged(shards)
    assert whole.steps == sum(shard.steps for shard in shards)
    offset = 0
    told = dict(
        zip(zip(*np.nonzero(whole.ended), strict=True), whole.numbers["height"], strict=True)
    )
    for shard in shards:
        rows = shard.reward.shape[1]
        np.testing.assert_array_equal(whole.reward[:, offset : offset + rows], shard.reward)
        for number, (t, i) in enumerate(zip(*np.nonzero(shard.ended), strict=True)):
            expected = shard.numbers["height"][number] if shard.numbers else np.nan
            np.testing.assert_equal(told[t, i + offset], expected)
            left = int(shard.ended[t:, i].sum())
            assert whole.episode_seed(int(i) + offset, left) == shard.episode_seed(int(i), left)
        offset += rows


def test_moments_of_shards_are_those_of_all_observations() -> None:
    """Chan's rule in float64: no digit of a small spread far from zero is lost."""
    rng = np.random.default_rng(1)
    seen = rng.normal(1e4, 1e-2, (T, 6, 2))
    parts = [moments_of(seen[:, 2 * k : 2 * k + 2]) for k in range(3)]
    shards = [summary(rng, 2, 0.0)._replace(observation=part) for part in parts]
    whole = merged(shards).observation
    assert whole is not None
    flat = seen.reshape(-1, 2)
    assert whole.samples == len(flat)
    np.testing.assert_allclose(whole.mean, flat.mean(0), rtol=1e-14)
    np.testing.assert_allclose(whole.variance, flat.var(0), rtol=1e-7)


def test_the_first_fault_is_told() -> None:
    rng = np.random.default_rng(2)
    shards = [summary(rng, 2, 0.0)._replace(fault=fault) for fault in (None, "b", "c")]
    assert merged(shards).fault == "b"


def test_a_summary_is_told_without_loss() -> None:
    rng = np.random.default_rng(3)
    shards = [summary(rng, 2, 5.0)._replace(fault="θ is NaN"), summary(rng, 3, 6.0)]
    part = {f"{4 + k}.{name}": a for k, s in enumerate(shards) for name, a in arrays_of(s).items()}
    for one, again in zip(shards, summaries_of(part), strict=True):
        for name in ("reward", "ended", "valid", "terminated", "fault"):
            np.testing.assert_array_equal(getattr(again, name), getattr(one, name))
        jax.tree.map(np.testing.assert_array_equal, again.observation, one.observation)
        jax.tree.map(np.testing.assert_array_equal, dict(again.numbers), dict(one.numbers))
        for t, i in zip(*np.nonzero(one.ended), strict=True):
            left = int(one.ended[t:, i].sum())
            assert again.episode_seed(int(i), left) == one.episode_seed(int(i), left)


KINDS: dict[str, Any] = {
    "copies": ("Pendulum-v1", {"recurrent_size": 3, "sequence_length": 4, "dropout": 0.0}),
    "rows of its own vector form": ("CartPole-v1", {"dropout": 0.3, "num_envs": 16}),
    "written in JAX": (CartPole(limit=9), {"normalize_observation": True}),
}


def rollouts(kind: str, count: int, saved: Any = None) -> tuple[Any, Any, Any]:
    """Two rollouts by so many processes, what they were told of them, and where they then stand."""
    env, settings = KINDS[kind]
    chosen = {"num_envs": N, "rollout_length": T, "steps": 10_000, "hidden_sizes": (4,)} | settings
    own = {"critic_minibatch_size": 128, "shards": 4} | chosen
    source = resolve(env)
    config = klamp.RunConfig(source.name, klamp.TRPO(), klamp.Settings(**own))

    def work(joined: Any) -> Any:
        run, state = start(config, environment=source, processes=joined)
        if saved is not None:
            assert run.restore(saved) == []
        behavior = behavior_policy(config, state)
        run.collector.compile(behavior)
        got = []
        for _ in range(2):
            rollout, told = run.collector.collect(behavior)
            got.append((jax.tree.map(np.array, rollout), told))
            behavior = behavior._replace(iteration=behavior.iteration + 1)
        position = run.position()
        if joined.index == 0:
            stands = position.arrays()
        else:
            assert joined.command() == POSITION
            joined.answer(position.own())
            stands = None
        run.close()
        return got, stands

    if count == 1:
        done = [work(ALONE)]
    else:
        joined = joined_threads(count)
        done = in_each(joined, lambda each: work(Following(each)))
        for each in joined:
            each.watch.leave()
    for result in done:
        if isinstance(result, BaseException):
            raise result
    together = [
        jax.tree.map(lambda *parts: np.concatenate(parts, 1), *[got[k][0] for got, _ in done])
        for k in range(2)
    ]
    return together, [[told for _, told in got] for got, _ in done], done[0][1]


class Following:
    """A process that does without being told what it would have done anyway."""

    def __init__(self, joined: Any) -> None:
        self._joined, self.index, self.count = joined, joined.index, joined.count
        self.command, self.answer, self.gather = joined.command, joined.answer, joined.gather
        self.explained = joined.explained

    def lead(self, command: str) -> None:
        if self.index == 0:
            self._joined.lead(command)
        else:
            assert self._joined.command() == command

    def exchange(self, make: Any) -> Any:
        return self._joined.exchange(make)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_collected_does_not_depend_on_who_collects_it(kind: str) -> None:
    alone, told, stands = rollouts(kind, 1)
    both, told_to_each, stand = rollouts(kind, 2)
    for one, other in zip(alone, both, strict=True):
        jax.tree.map(np.testing.assert_array_equal, other, one)
    for summaries in told_to_each:
        for other, one in zip(summaries, told[0], strict=True):
            np.testing.assert_array_equal(other.reward, one.reward)
            jax.tree.map(np.testing.assert_array_equal, other.observation, one.observation)
    assert set(stands) == set(stand)
    for name, array in stands.items():
        np.testing.assert_array_equal(stand[name], array, err_msg=name)


def test_each_shard_draws_numbers_of_its_own() -> None:
    (first, second), _, _ = rollouts("written in JAX", 1)
    for rollout in (first, second):
        rows = np.asarray(rollout.observation)[-1]
        assert len(np.unique(rows[:, 0])) == N
        actions = {np.asarray(shard).tobytes() for shard in np.split(rollout.action, 4, axis=1)}
        assert len(actions) == 4


def test_two_processes_go_on_from_where_one_stood() -> None:
    _, _, stands = rollouts("copies", 1)
    alone, _, _ = rollouts("copies", 1, stands)
    both, _, _ = rollouts("copies", 2, stands)
    for one, other in zip(alone, both, strict=True):
        jax.tree.map(np.testing.assert_array_equal, other, one)
