"""One iteration, collect → prepare → update → report, and where a run's iterations come from.

A run is asked for no more than ``Iteration`` says: the loop does not know where environments live.
``start`` alone decides between the host, here, and the device (``fused``).
"""

import time
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
from jaxtyping import PRNGKeyArray

from klamp.collection.host import HostCollector, never
from klamp.config.run import RunConfig
from klamp.envs.device.batched import Together
from klamp.envs.host.interface import HostEnvironments, Position
from klamp.envs.source import EnvironmentSource, source_of
from klamp.envs.spaces.supported import check_spaces
from klamp.evaluation.policy import TrainedPolicy
from klamp.networks import NetworkBuilder, flatten
from klamp.runs.metrics_log import Metrics
from klamp.runtime.compile_cache import keep_compiled
from klamp.runtime.seeding import Purpose, key
from klamp.training.assembly import check_used, make_policy, network_maker
from klamp.training.fused import FusedIteration
from klamp.training.learning import make_learn
from klamp.training.metrics import refused_metrics, report_metrics
from klamp.training.state import (
    TrainState,
    action_std,
    count,
    dropout_keys,
    fresh_state,
    note_refusal,
    observation_scaling,
    observe_rewards,
    scheduled_log_std,
    skip_rollout,
)


class Boundary(NamedTuple):
    """Where a run stands between two iterations: all that a checkpoint holds."""

    state: TrainState
    position: Position


class Iteration(Protocol):
    """The parts of a run that do not change, and what they do to the state."""

    config: RunConfig

    def compile(self, state: TrainState) -> float:
        """Compile what an iteration calls; the seconds it took."""
        ...

    def advance(
        self, state: TrainState, check: Callable[[], None] = never
    ) -> tuple[TrainState, Metrics]:
        """One iteration. ``check`` is called wherever it can be left, and may raise."""
        ...

    def position(self) -> Position:
        """Where the environments stand."""
        ...

    def restore(self, saved: dict[str, Any]) -> list[str]:
        """Put the environments there again; what was not possible exactly, in words."""
        ...

    def policy(self, state: TrainState) -> TrainedPolicy:
        """The policy of a state."""
        ...

    def close(self) -> None:
        """Free the environments."""
        ...


class HostIteration:
    """Environments on the host: a rollout step by step, then one compiled update."""

    def __init__(
        self,
        config: RunConfig,
        environments: HostEnvironments,
        network: NetworkBuilder | None,
        like: "HostIteration | None" = None,
    ) -> None:
        """``like`` lends what it compiled, to a run that differs in nothing but its seed."""
        settings = config.settings
        self.config, self.environments = config, environments
        self.draw: Callable[[PRNGKeyArray], Any] = (
            network_maker(config, environments, network) if like is None else like.draw
        )
        self.theta, model = flatten(self.draw(key(settings.seed, Purpose.INITIALISE)))
        self.model = model if like is None else like.model
        self.collector = HostCollector(
            environments,
            self.model,
            self.theta,
            settings.rollout_length,
            settings.action_bounds,
            settings.recurrent_size,
            None if like is None else like.collector.compiled,
        )
        self.learn: Any = (
            make_learn(self.model, config.algorithm, settings) if like is None else like.learn
        )

    def compile(self, state: TrainState) -> float:
        """Compile the policy call and the update; the seconds it took."""
        began = time.perf_counter()
        seen = observation_scaling(self.config, state)
        rollout = self.collector.compile(
            state.theta,
            seen,
            scheduled_log_std(self.config, state),
            dropout_keys(self.config, state),
        )
        some_key = key(self.config.settings.seed, Purpose.SHUFFLE)
        number = jnp.asarray(1.0, jnp.float32)
        parts = (state.theta, state.algorithm, rollout, seen, number, some_key, number)
        if hasattr(self.learn, "lower"):
            self.learn = self.learn.lower(*parts).compile()
        return time.perf_counter() - began

    def advance(
        self, state: TrainState, check: Callable[[], None] = never
    ) -> tuple[TrainState, Metrics]:
        """One iteration: Algorithm 1 of the papers."""
        config, settings, update = self.config, self.config.settings, int(state.update)
        seen, std = observation_scaling(config, state), action_std(config, state)
        rollout = self.collector.collect(
            state.theta,
            seen,
            key(settings.seed, Purpose.ACT, update),
            scheduled_log_std(config, state),
            dropout_keys(config, state),
            iteration=update,
            check=check,
        )
        if (fault := self.collector.first_non_finite()) is not None:
            # A simulator that showed NaN once may show it for ever: every episode begins anew.
            self.collector.start_again()
            steps = int(rollout.transitions().sum())
            return skip_rollout(state, steps), refused_metrics(f"the {fault}")
        state, factor = observe_rewards(config, state, rollout)
        check()
        theta, algorithm, report = self.learn(
            state.theta,
            state.algorithm,
            rollout,
            seen,
            factor,
            key(settings.seed, Purpose.SHUFFLE, update),
            jnp.asarray(settings.progress(int(state.step)), jnp.float32),
        )
        metrics = report_metrics(report)
        if std is not None:
            metrics["action_std"] = std
        state = count(state._replace(theta=theta, algorithm=algorithm), rollout, config)
        return note_refusal(state, str(metrics["outcome"])), metrics

    def position(self) -> Position:
        """Where the environments stand."""
        return self.collector.position()

    def restore(self, saved: dict[str, Any]) -> list[str]:
        """Put the environments there again; what was not possible exactly, in words."""
        return self.collector.restore(saved)

    def policy(self, state: TrainState) -> TrainedPolicy:
        """The policy of a state."""
        return make_policy(self.config, self.environments, self.model, state)

    def close(self) -> None:
        """Free the environments."""
        self.environments.close()


def start(
    config: RunConfig,
    network: NetworkBuilder | None = None,
    like: Any = None,
    environment: EnvironmentSource | None = None,
) -> tuple[Iteration, TrainState]:
    """Environments, networks and functions, and the state before the first step.

    ``like`` is a run that differs in its seed only: what it compiled serves this one, too.
    ``environment`` is where the run's own come from, by default what its configuration names. Turns
    JAX's asynchronous dispatch on the CPU off for this process: every policy call is waited for
    anyway, and handing it to another thread costs more than the call.
    """
    jax.config.update("jax_cpu_enable_async_dispatch", False)
    keep_compiled()
    settings = config.settings
    source = environment or source_of(config)
    on_device = source.device(settings.vectorization)
    if on_device is not None:
        together = Together(on_device, settings.num_envs)
        check_spaces(config.env, together.observation_space, together.action_space)
        check_used(config, together)
        fused = FusedIteration(config, together, network, like)
        return fused, fresh_state(config, together.seen_space, fused.theta, fused.model)
    environments = source.host(
        settings.num_envs,
        seed=settings.seed,
        purpose=Purpose.EPISODE,
        vectorization=settings.vectorization,
        step_limit_s=settings.step_limit_s,
    )
    try:
        check_spaces(config.env, environments.observation_space, environments.action_space)
        check_used(config, environments)
        run = HostIteration(config, environments, network, like)
        return run, fresh_state(config, environments.seen_space, run.theta, run.model)
    except BaseException:
        environments.close()
        raise
