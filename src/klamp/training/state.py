"""Everything that changes while a run trains: one pytree, and all that a checkpoint holds."""

import math
from typing import Any, NamedTuple, Protocol, TypeVar

import jax
import numpy as np
from gymnasium import spaces
from jaxtyping import Array, Float

from klamp.algorithms import implementation
from klamp.collection.collector import BehaviorPolicy, Summary
from klamp.collection.episodes import EpisodeStatistics, add_rollout, no_episodes
from klamp.config.run import RunConfig
from klamp.envs.host.interface import Position
from klamp.envs.spaces.joined import normalized_part
from klamp.mathematics.normalization import (
    Moments,
    Scaling,
    discounted_sums,
    empty_moments,
    identity_scaling,
    kept_moments,
    scaling,
    update_moments,
)
from klamp.mathematics.schedules import decayed
from klamp.networks import Model
from klamp.runtime.seeding import Purpose, key, key_words
from klamp.trust_region.report import Outcome
from klamp.types import PyTree


class Progress(Protocol):
    """What is saved and reported of the state of any run; a pytree."""

    @property
    def theta(self) -> PyTree:
        """The parameters that are trained."""
        ...

    @property
    def algorithm(self) -> PyTree:
        """The algorithm's own state."""
        ...

    @property
    def episodes(self) -> EpisodeStatistics:
        """Of finished and running episodes."""
        ...

    @property
    def step(self) -> Any:
        """Steps so far."""
        ...

    @property
    def update(self) -> Any:
        """Updates so far."""
        ...

    @property
    def refused(self) -> Any:
        """[2]: updates refused because something was not finite, in a row up to now, in all."""
        ...


State = TypeVar("State", bound=Progress)


class Boundary(NamedTuple):
    """Where a run stands between two iterations: all that a checkpoint holds."""

    state: Progress
    position: Position


class TrainState(NamedTuple):
    """Everything that changes while a run trains: one pytree, and all that a checkpoint holds."""

    theta: PyTree
    """θ = [actor | encoder | critic]."""
    algorithm: PyTree
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
    refused: Any
    """[2]: updates refused because something was not finite, in a row up to now, and in all."""


def fresh_state(
    config: RunConfig, observation_space: spaces.Box, theta: Array, model: Model
) -> TrainState:
    """The state before the first step."""
    return TrainState(
        theta=theta,
        algorithm=implementation(config.algorithm).init(config.algorithm, model, theta),
        observation_moments=empty_moments(normalized_shape(config, observation_space)),
        reward_moments=empty_moments(()),
        discounted_return=np.zeros(config.settings.num_envs),
        episodes=no_episodes(config.settings.num_envs),
        step=np.zeros((), np.int64),
        update=np.zeros((), np.int64),
        refused=np.zeros(2, np.int64),
    )


def normalized_shape(config: RunConfig, observation_space: spaces.Box) -> tuple[int, ...]:
    """The shape of the moments: of what is normalised of an observation; (0,) where nothing is."""
    return normalized_part(observation_space) if config.settings.normalize_observation else (0,)


def action_std(config: RunConfig, state: TrainState) -> float | None:
    """The scheduled standard deviation of the next actions, a function of the steps so far."""
    settings = config.settings
    if settings.action_scale != "scheduled":
        return None
    decay, minimum = settings.action_std_decay, settings.action_std_minimum
    return decayed(settings.action_std, decay, minimum, int(state.step))


def scheduled_log_std(config: RunConfig, state: TrainState) -> float | None:
    """Its logarithm, as policies take it."""
    std = action_std(config, state)
    return None if std is None else math.log(std)


def dropout_keys(config: RunConfig, state: TrainState) -> np.ndarray | None:
    """[T, N, 2]: two words per transition, from which its dropout masks follow."""
    settings = config.settings
    if not settings.dropout:
        return None
    shape = (settings.rollout_length, settings.num_envs, 2)
    words = jax.random.bits(key(settings.seed, Purpose.DROPOUT, int(state.update)), shape)
    return np.asarray(words)


def observation_scaling(config: RunConfig, state: TrainState) -> Scaling | None:
    """How this iteration normalises observations; None where they are not normalised.

    The first iteration, which knows no moments yet, only clips them to ±10, as all others do.
    """
    moments = state.observation_moments
    if not moments.mean.size:
        return None
    return scaling(moments) if moments.samples else identity_scaling(moments.mean.shape)


def observe_rewards(
    config: RunConfig, state: TrainState, summary: Summary
) -> tuple[TrainState, Float[np.ndarray, ""]]:
    """Merge the rollout's discounted returns into the moments; the factor that rewards get.

    A rollout in which something is not finite leaves the moments as they are.
    """
    if not config.settings.normalize_reward or summary.fault is not None:
        return state, np.ones((), np.float32)
    running, sums = discounted_sums(
        state.discounted_return, summary.reward, summary.ended, config.settings.discount
    )
    moments = update_moments(state.reward_moments, kept_moments(sums, summary.valid))
    state = state._replace(reward_moments=moments, discounted_return=running)
    return state, scaling(moments, centre=False).factor


def skip_rollout(state: TrainState, steps: int) -> TrainState:
    """A rollout of ``steps`` that nothing is learnt from: they count, open episodes do not."""
    running = np.zeros_like(state.discounted_return)
    episodes = state.episodes._replace(running_return=running, running_length=running.copy())
    return state._replace(
        discounted_return=running.copy(),
        episodes=episodes,
        step=state.step + steps,
        update=state.update + 1,
        refused=refusals(state.refused, Outcome.NON_FINITE.name),
    )


def refusals(before: Any, outcome: str) -> np.ndarray:
    """The counts of updates refused because something was not finite, after one more update."""
    in_a_row, total = (int(n) for n in before)
    refused = outcome == Outcome.NON_FINITE.name
    counts = (in_a_row + 1, total + 1) if refused else (0, total)
    return np.array(counts, np.int64)


def count(state: TrainState, summary: Summary) -> TrainState:
    """Counters, episode statistics and observation moments after an iteration."""
    moments = state.observation_moments
    if summary.observation is not None:
        moments = update_moments(moments, summary.observation)
    return state._replace(
        observation_moments=moments,
        episodes=add_rollout(state.episodes, summary.reward, summary.ended, summary.valid),
        step=state.step + summary.steps,
        update=state.update + 1,
    )


def behavior_policy(config: RunConfig, state: TrainState) -> BehaviorPolicy:
    """The policy that collects the next rollout."""
    return BehaviorPolicy(
        state.theta,
        observation_scaling(config, state),
        key_words(config.settings.seed, Purpose.ACT, int(state.update)),
        int(state.update),
        scheduled_log_std(config, state),
        dropout_keys(config, state),
    )
