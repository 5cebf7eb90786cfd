"""One iteration, collect → refuse or scale → learn → count, and what a run's iterations share."""

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from typing import Any

import jax
import numpy as np
from jaxtyping import Float, PRNGKeyArray

from klamp.collection.collector import Collector, Summary, never
from klamp.collection.device import DeviceCollector
from klamp.collection.episodes import episodes_of
from klamp.collection.host import HostCollector
from klamp.collection.shards import ShardedCollector
from klamp.config.run import RunConfig
from klamp.envs.device.batched import BatchedEnvironment
from klamp.envs.host.info_numbers import means
from klamp.envs.host.interface import HostEnvironments, Position
from klamp.envs.source import EnvironmentSource, source_of
from klamp.envs.spaces.supported import check_spaces
from klamp.errors import ConfigError
from klamp.evaluation.policy import TrainedPolicy
from klamp.networks import Model, NetworkBuilder, flatten
from klamp.networks.build import Spaces, check_used, network_maker
from klamp.runs.metrics_log import Metrics
from klamp.runtime.compile_cache import keep_compiled
from klamp.runtime.joined import ALONE, Processes
from klamp.runtime.seeding import EnvironmentSeeds, Purpose, key, key_words
from klamp.training.learning import make_learn
from klamp.training.metrics import refused_metrics, report_metrics
from klamp.training.placement import PlacedLearn, mesh_of
from klamp.training.state import (
    TrainState,
    action_std,
    behavior_policy,
    count,
    fresh_state,
    observation_scaling,
    observe_rewards,
    refusals,
    scheduled_log_std,
    skip_rollout,
)
from klamp.types import Episode

Learnt = tuple[Any, Any, Any]
"""θ, the algorithm's state, and the report: what an update returns."""

ROLLOUT = 2
"""The place of the rollout among the arguments of the update."""


class Iteration:
    """The parts of a run that do not change, and what they do to its state."""

    def __init__(
        self,
        config: RunConfig,
        environments: HostEnvironments | BatchedEnvironment,
        network: NetworkBuilder | None = None,
        compiled_by: "Iteration | None" = None,
        *,
        shards: Sequence[HostEnvironments | BatchedEnvironment] = (),
        processes: Processes = ALONE,
    ) -> None:
        """``compiled_by``: a run that differs only in its seed, whose programs are used.

        ``shards`` are all groups of environments that this process steps, in their order, where
        the run has several; ``environments`` are the first of them. ``processes`` share the run.
        """
        settings = config.settings
        self.config, self.environments = config, environments
        self._processes = processes
        self.draw: Callable[[PRNGKeyArray], Any] = (
            compiled_by.draw if compiled_by else network_maker(config, environments, network)
        )
        """From a key to the networks."""
        self.theta, model = flatten(self.draw(key(settings.seed, Purpose.INITIALISE)))
        self.model = compiled_by.model if compiled_by else model
        self.learn: Any = compiled_by.learn if compiled_by else self._placed(model)
        self.episodes: Callable[[], list[Episode]] = _no_episodes
        """Makes those that ended in the last iteration; to be called before the next one."""
        before: Any = compiled_by and compiled_by.collector
        self.collector: Any = (
            self._sharded(shards, before) if shards else self._collector(environments, before)
        )

    def _placed(self, model: Model) -> Any:
        """The update, on all devices that hold shards of the batch."""
        settings = self.config.settings
        several = settings.shards > 1
        mesh = mesh_of(settings.shards, self._processes.count) if several else None
        if mesh is None:
            return make_learn(model, self.config.algorithm, settings)
        learn = make_learn(model, self.config.algorithm, settings, mesh.size)
        return PlacedLearn(learn, mesh, self._processes, batch=ROLLOUT, axis=1)

    def _collector(
        self,
        environments: HostEnvironments | BatchedEnvironment,
        compiled_by: Any,
        first: int = 0,
    ) -> Collector:
        """The collector of environments on the device, or of those on the host."""
        settings = self.config.settings
        if isinstance(environments, BatchedEnvironment):
            parts = (self.config.env, environments, self.model, self.theta, settings)
            return DeviceCollector(*parts, compiled_by, first)
        return HostCollector(environments, self.model, self.theta, settings, compiled_by, first)

    def _sharded(
        self, shards: Sequence[HostEnvironments | BatchedEnvironment], compiled_by: Any
    ) -> Collector:
        """The collector of several groups, whose first environments have these indices."""
        rows, first = shards[0].num_envs, self._processes.index * len(shards)
        before = None if compiled_by is None else compiled_by.collectors[0]
        collectors: list[Collector] = []
        for place, environments in enumerate(shards):
            before = self._collector(environments, before, (first + place) * rows)
            collectors.append(before)
        return ShardedCollector(collectors, first, rows, self._processes)

    def compile(self, state: TrainState) -> float:
        """Compile what an iteration calls; the seconds it took."""
        began = time.perf_counter()
        rollout = self.collector.compile(behavior_policy(self.config, state))
        if hasattr(self.learn, "lower"):
            one = np.ones((), np.float32)
            self.learn = self.learn.lower(*self.learn_arguments(state, rollout, one)).compile()
        return time.perf_counter() - began

    def advance(
        self, state: TrainState, check: Callable[[], None] = never
    ) -> tuple[TrainState, Metrics]:
        """One iteration: Algorithm 1 of the papers.

        ``check`` is called wherever the iteration can be interrupted, and may raise.
        """
        # Collect.
        rollout, summary = self.collector.collect(behavior_policy(self.config, state), check)
        # Refuse, or scale the rewards.
        if summary.fault is not None:
            return self.refuse(state, summary, summary.fault)
        state, factor = observe_rewards(self.config, state, summary)
        if self._processes.count == 1:
            # Of several, one that stopped here by itself would leave the others waiting.
            check()
        # Learn.
        learnt = self.learn(*self.learn_arguments(state, rollout, factor))
        # Count.
        return self.counted(state, summary, learnt)

    def refuse(self, state: TrainState, summary: Summary, fault: str) -> tuple[TrainState, Metrics]:
        """Learn nothing from a rollout in which something is not finite.

        A simulator that returned NaN once may go on returning it, so every environment is reset.
        """
        self.collector.restart(int(state.update) + 1)
        self.episodes = _no_episodes
        return skip_rollout(state, summary.steps), refused_metrics(fault)

    def learn_arguments(
        self, state: TrainState, rollout: Any, reward_factor: Float[np.ndarray, ""]
    ) -> tuple[Any, ...]:
        """What ``learn`` takes."""
        settings = self.config.settings
        return (
            state.theta,
            state.algorithm,
            rollout,
            observation_scaling(self.config, state),
            reward_factor,
            key_words(settings.seed, Purpose.SHUFFLE, int(state.update)),
            np.asarray(settings.progress(int(state.step)), np.float32),
        )

    def counted(
        self, state: TrainState, summary: Summary, learnt: Learnt
    ) -> tuple[TrainState, Metrics]:
        """The state after an update, and its metrics."""
        theta, algorithm, report = learnt
        metrics = report_metrics(report) | means(summary.numbers)
        self.episodes = partial(_episodes, state, summary)
        if (std := action_std(self.config, state)) is not None:
            metrics["action_std"] = std
        refused = refusals(state.refused, str(metrics["outcome"]))
        state = state._replace(theta=theta, algorithm=algorithm, refused=refused)
        return count(state, summary), metrics

    def position(self) -> Position:
        """Where the environments stand."""
        return self.collector.position()

    def restore(self, saved: dict[str, Any]) -> list[str]:
        """Restore the environments; returns what could not be restored exactly, in words."""
        return self.collector.restore(saved)

    def policy(self, state: TrainState) -> TrainedPolicy:
        """The policy of a state."""
        return make_policy(self.config, self.environments, self.model, state)

    def close(self) -> None:
        """Free the environments."""
        self.collector.close()


def _no_episodes() -> list[Episode]:
    """No rollout yet, or one that was refused."""
    return []


def _episodes(before: TrainState, summary: Summary) -> list[Episode]:
    """The episodes that ended in the rollout after a state."""
    rows = (summary.reward, summary.ended, summary.valid, summary.terminated)
    return episodes_of(
        before.episodes, int(before.step), *rows, summary.numbers, summary.episode_seed
    )


def make_policy(
    config: RunConfig, environments: Spaces, model: Model, state: TrainState
) -> TrainedPolicy:
    """The policy of a state, with its normaliser; the environments have been reset."""
    return TrainedPolicy(
        model,
        state.theta,
        observation_scaling(config, state),
        environments.observation_space,
        environments.action_space,
        config,
        scheduled_log_std(config, state),
        masked=getattr(environments, "action_mask", None) is not None,
    )


def start(
    config: RunConfig,
    network: NetworkBuilder | None = None,
    compiled_by: Iteration | None = None,
    environment: EnvironmentSource | None = None,
    processes: Processes = ALONE,
) -> tuple[Iteration, TrainState]:
    """Environments, networks and functions, and the state before the first step.

    ``compiled_by`` is a run that differs only in its seed, whose programs are used. ``environment``
    is where the run's own come from, by default what its configuration names. Turns JAX's
    asynchronous dispatch on the CPU off for this process: every policy call is waited for anyway,
    and handing it to another thread costs more than the call.
    """
    jax.config.update("jax_cpu_enable_async_dispatch", False)
    keep_compiled()
    with ExitStack() as made:
        shards = _shards(config, environment or source_of(config), processes, made)
        environments = shards[0]
        check_spaces(config.env, environments.observation_space, environments.action_space)
        check_used(config, environments)
        several = shards if config.settings.shards > 1 else ()
        run = Iteration(
            config, environments, network, compiled_by, shards=several, processes=processes
        )
        state = fresh_state(config, environments.policy_observation_space, run.theta, run.model)
        made.pop_all()
        return run, state


def _shards(
    config: RunConfig, source: EnvironmentSource, processes: Processes, made: ExitStack
) -> list[HostEnvironments | BatchedEnvironment]:
    """The groups of environments that this process steps; ``made`` closes them."""
    settings = config.settings
    if settings.shards > 1 and source.rows is not None:
        raise ConfigError(
            f"`shards` is {settings.shards}, but `{source.title}` was given as an object, whose "
            "rows cannot be divided. Give its class, or a function of `num_envs` that makes one."
        )
    own = settings.shards // processes.count
    rows = settings.num_envs // settings.shards
    shards: list[HostEnvironments | BatchedEnvironment] = []
    for shard in range(processes.index * own, (processes.index + 1) * own):
        environments = _environments(config, source, rows, shard * rows)
        shards.append(environments)
        if not isinstance(environments, BatchedEnvironment):
            made.callback(environments.close)
    return shards


def _environments(
    config: RunConfig, source: EnvironmentSource, rows: int, first: int
) -> HostEnvironments | BatchedEnvironment:
    """Some of the run's environments: on the device where written in JAX, else on the host."""
    settings = config.settings
    on_device = source.device(settings.vectorization)
    if on_device is not None:
        return BatchedEnvironment(on_device, rows)
    return source.host(
        rows,
        EnvironmentSeeds(settings.seed, Purpose.EPISODE, first),
        vectorization=settings.vectorization,
        step_limit_s=settings.step_limit_s,
    )
