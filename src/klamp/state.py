"""Everything that changes while a run trains: one pytree, and all that a checkpoint holds."""

from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from klamp.algorithms import implementation
from klamp.checkpoint import load_checkpoint, restore_tensors
from klamp.config import RunConfig
from klamp.episodes import EpisodeStatistics, add_rollout, no_episodes
from klamp.networks import Model
from klamp.normalize import (
    Moments,
    Scaling,
    discounted_sums,
    empty_moments,
    identity_scaling,
    scaling,
    update_moments,
)
from klamp.types import Rollout


class TrainState(NamedTuple):
    """Everything that changes while a run trains: one pytree, and all that a checkpoint holds."""

    theta: Any
    """θ = [actor | encoder | critic]."""
    algorithm: Any
    """The algorithm's own state."""
    observation_moments: Moments
    reward_moments: Moments
    """Of the discounted return, which rewards are scaled by."""
    discounted_return: Any
    """[N]: the discounted return of each running episode."""
    episodes: EpisodeStatistics
    step: Any
    """Environment steps so far."""
    update: Any
    """Updates so far."""


def fresh_state(
    config: RunConfig, observation_shape: tuple[int, ...], theta: Array, model: Model
) -> TrainState:
    """The state before the first step."""
    return TrainState(
        theta=theta,
        algorithm=implementation(config.algorithm).init(config.algorithm, model, theta),
        observation_moments=empty_moments(observation_shape),
        reward_moments=empty_moments(()),
        discounted_return=np.zeros(config.settings.num_envs),
        episodes=no_episodes(config.settings.num_envs),
        step=np.zeros((), np.int64),
        update=np.zeros((), np.int64),
    )


def restore(fresh: TrainState, path: Path) -> TrainState:
    """The state saved at ``path``, in the structure of a fresh one."""
    tensors, _ = load_checkpoint(path)
    saved = restore_tensors(fresh, tensors, path)
    return saved._replace(
        theta=jnp.asarray(saved.theta), algorithm=jax.tree.map(jnp.asarray, saved.algorithm)
    )


def observation_scaling(config: RunConfig, state: TrainState) -> Scaling | None:
    """How this iteration sees observations; the first one sees them as they are."""
    if not config.settings.normalize_observation:
        return None
    moments = state.observation_moments
    return scaling(moments) if moments.count else identity_scaling(moments.mean.shape)


def observe_rewards(
    config: RunConfig, state: TrainState, rollout: Rollout
) -> tuple[TrainState, Float[Array, ""]]:
    """Merge the rollout's discounted returns into the moments; the factor that rewards get."""
    if not config.settings.normalize_reward:
        return state, jnp.asarray(1.0, jnp.float32)
    ended = np.asarray(rollout.terminated | rollout.truncated)
    running, sums = discounted_sums(
        state.discounted_return, np.asarray(rollout.reward), ended, config.settings.discount
    )
    keep = np.asarray(rollout.weight).reshape(-1) > 0
    moments = update_moments(state.reward_moments, sums.reshape(-1), keep)
    state = state._replace(reward_moments=moments, discounted_return=running)
    return state, jnp.asarray(scaling(moments, centre=False).factor)


def count(state: TrainState, rollout: Rollout, config: RunConfig) -> TrainState:
    """Counters, episode statistics and observation moments after an iteration."""
    weight = np.asarray(rollout.weight)
    ended = np.asarray(rollout.terminated | rollout.truncated)
    moments = state.observation_moments
    if config.settings.normalize_observation:
        rows = np.asarray(rollout.observation).reshape(-1, *moments.mean.shape)
        moments = update_moments(moments, rows, weight.reshape(-1) > 0)
    return state._replace(
        observation_moments=moments,
        episodes=add_rollout(state.episodes, np.asarray(rollout.reward), ended, weight),
        step=state.step + int((weight > 0).sum()),
        update=state.update + 1,
    )
