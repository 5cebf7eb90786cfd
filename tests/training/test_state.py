"""The state of a run: what it counts, how it scales, and that it is one tree of arrays."""

from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import klamp
from klamp.collection.collector import Summary, first_non_finite, summarize
from klamp.collection.episodes import no_episodes
from klamp.config.algorithms import PPO
from klamp.config.run import RunConfig
from klamp.config.settings import Settings
from klamp.mathematics.normalization import empty_moments, kept_moments, normalize
from klamp.runs.checkpoint import latest_checkpoint
from klamp.training.checkpointing import restore
from klamp.training.iteration import start
from klamp.training.state import (
    TrainState,
    action_std,
    count,
    dropout_keys,
    observation_scaling,
    observe_rewards,
    refusals,
    skip_rollout,
)
from klamp.types import Rollout

T, N = 5, 2


def config(**settings) -> RunConfig:
    return RunConfig("CartPole-v1", PPO(), Settings(num_envs=N, rollout_length=T, **settings))


def state(size: int = 3) -> TrainState:
    return TrainState(
        theta=np.zeros(4, np.float32),
        algorithm=(),
        observation_moments=empty_moments((size,)),
        reward_moments=empty_moments(()),
        discounted_return=np.zeros(N),
        episodes=no_episodes(N),
        step=np.zeros((), np.int64),
        update=np.zeros((), np.int64),
        refused=np.zeros(2, np.int64),
    )


def summary() -> Summary:
    rows = rollout()
    return summarize(
        rows,
        first_non_finite(rows),
        kept_moments(rows.observation, rows.transitions()),
        lambda index, earlier: "",
    )


def rollout() -> Rollout:
    generator = np.random.default_rng(0)
    observation = generator.normal(2.0, 3.0, (T, N, 3)).astype(np.float32)
    ended = np.zeros((T, N), bool)
    ended[2, 0] = True
    weight = np.ones((T, N), np.float32)
    weight[3, 0] = 0
    observation[3, 0] = 1e9
    return Rollout(
        observation,
        observation,
        np.zeros((T, N), np.int32),
        np.ones((T, N), np.float32),
        ended,
        np.zeros((T, N), bool),
        weight,
    )


def test_rows_without_weight_are_not_counted() -> None:
    after = count(state(), summary())
    assert int(after.step) == T * N - 1
    assert int(after.update) == 1
    assert int(after.episodes.finished) == 1
    assert after.episodes.return_mean == 3
    kept = np.delete(rollout().observation.reshape(-1, 3), 3 * N, axis=0)
    np.testing.assert_allclose(after.observation_moments.mean, kept.mean(axis=0), rtol=1e-6)


def test_a_skipped_rollout_counts_its_steps_and_nothing_else() -> None:
    before = state()._replace(discounted_return=np.ones(N))
    after = skip_rollout(before, T * N - 1)
    assert int(after.step) == T * N - 1
    assert int(after.update) == 1
    assert list(after.refused) == [1, 1]
    assert not after.discounted_return.any()
    assert int(after.episodes.finished) == 0
    assert after.theta is before.theta
    assert after.observation_moments is before.observation_moments
    again = refusals(refusals(after.refused, "NON_FINITE"), "ACCEPTED")
    assert list(again) == [0, 2]


def test_the_first_iteration_sees_observations_unscaled_and_clipped() -> None:
    settings = config(normalize_observation=True)
    first = observation_scaling(settings, state())
    assert first is not None
    seen = normalize(jnp.array([0.3, -9.5, 25.0]), first)
    np.testing.assert_array_equal(seen, np.array([0.3, -9.5, 10.0], np.float32))
    later = observation_scaling(settings, count(state(), summary()))
    kept = np.delete(rollout().observation.reshape(-1, 3), 3 * N, axis=0)
    np.testing.assert_allclose(later.factor, 1 / kept.std(axis=0), rtol=1e-5)
    assert observation_scaling(config(), state(0)) is None


def test_rewards_are_scaled_by_the_return_and_only_if_asked() -> None:
    same, factor = observe_rewards(config(), state(), summary())
    assert float(factor) == 1.0
    assert same.reward_moments.samples == 0
    after, factor = observe_rewards(config(normalize_reward=True), state(), summary())
    assert after.reward_moments.samples == T * N - 1
    assert 0.3 < float(factor) < 3
    assert after.discounted_return.shape == (N,)


def test_dropout_keys_are_functions_of_the_update() -> None:
    settings = config(dropout=0.5)
    first, again = (dropout_keys(settings, state()) for _ in range(2))
    np.testing.assert_array_equal(first, again)
    assert first.shape == (T, N, 2)
    later = dropout_keys(settings, state()._replace(update=np.asarray(1)))
    assert not np.array_equal(first, later)
    assert len(np.unique(first.reshape(-1, 2), axis=0)) == T * N
    assert dropout_keys(config(), state()) is None


def test_the_scheduled_scale_is_a_function_of_the_steps() -> None:
    settings = config(action_scale="scheduled", action_std=0.6, action_std_decay=1e-6)
    stds = [
        action_std(settings, state()._replace(step=np.asarray(step)))
        for step in (0, 100_000, 10**7)
    ]
    assert stds[0] == pytest.approx(0.6)
    assert stds[0] > stds[1] > stds[2] == pytest.approx(settings.settings.action_std_minimum)
    assert action_std(config(), state()) is None


def test_a_saved_state_fills_a_fresh_one(trained: klamp.Result) -> None:
    run_config = trained.policy.config
    run, fresh = start(run_config)
    run.environments.close()
    saved, _ = restore(fresh, latest_checkpoint(Path(trained.folder)))
    assert int(saved.step) == trained.summary["step"]
    assert int(saved.update) == trained.summary["update"]
    assert jax.tree.structure(saved) == jax.tree.structure(fresh)
    np.testing.assert_array_equal(saved.theta, trained.policy.theta)
    other = replace(run_config, settings=replace(run_config.settings, hidden_sizes=(8,)))
    run, unlike = start(other)
    run.environments.close()
    with pytest.raises(klamp.CheckpointError, match="does not fit"):
        restore(unlike, latest_checkpoint(Path(trained.folder)))
