"""One iteration, collect → prepare → update → report, for environments on the host.

A run is asked for no more than ``Iteration`` says: the loop does not know where environments live.
"""

import time
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array

from klamp.compilation import keep_compiled
from klamp.config import RunConfig
from klamp.envs.host import HostEnvironments, Position
from klamp.envs.making import make_host
from klamp.envs.spaces import check_spaces
from klamp.errors import ConfigError
from klamp.learning import make_learn
from klamp.metrics import Metrics, refused_metrics, report_metrics
from klamp.networks import (
    Model,
    NetworkBuilder,
    build_network,
    check_network,
    flatten,
)
from klamp.policy import TrainedPolicy
from klamp.rollout import HostCollector, never
from klamp.seeding import Purpose, key
from klamp.state import (
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
        self, config: RunConfig, environments: HostEnvironments, model: Model, theta: Array
    ) -> None:
        settings = config.settings
        self.config, self.environments, self.model = config, environments, model
        self.collector = HostCollector(
            environments,
            model,
            theta,
            settings.rollout_length,
            settings.action_bounds,
            settings.recurrent_size,
        )
        self.learn: Any = make_learn(model, config.algorithm, settings)

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
            return skip_rollout(state, rollout), refused_metrics(f"the {fault}")
        state, factor = observe_rewards(config, state, rollout)
        check()
        theta, algorithm, report = self.learn(
            state.theta,
            state.algorithm,
            rollout,
            seen,
            factor,
            key(settings.seed, Purpose.SHUFFLE, update),
            jnp.asarray(min(int(state.step) / settings.steps, 1.0), jnp.float32),
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
    config: RunConfig, network: NetworkBuilder | None = None
) -> tuple[HostIteration, TrainState]:
    """Environments, networks and functions, and the state before the first step.

    Turns JAX's asynchronous dispatch on the CPU off for this process: every policy call is waited
    for anyway, and handing it to another thread costs more than the call.
    """
    jax.config.update("jax_cpu_enable_async_dispatch", False)
    keep_compiled()
    settings = config.settings
    environments = make_host(
        config.env,
        settings.num_envs,
        seed=settings.seed,
        purpose=Purpose.EPISODE,
        vectorization=settings.vectorization,
        step_limit_s=settings.step_limit_s,
    )
    check_spaces(config.env, environments.observation_space, environments.action_space)
    theta, model = make_network(config, environments, network)
    state = fresh_state(config, environments.seen_space, theta, model)
    return HostIteration(config, environments, model, theta), state


def make_network(
    config: RunConfig, environments: HostEnvironments, network: NetworkBuilder | None
) -> tuple[Array, Model]:
    """The networks of the settings, or a user's own; the same ones that the run began with."""
    initial = key(config.settings.seed, Purpose.INITIALISE)
    seen, actions = environments.seen_space, environments.action_space
    if (network is None) != (config.network is None):
        raise ConfigError(
            "The run has the built-in networks; leave `network` out."
            if config.network is None
            else f"The run has networks of its own, built by `{config.network}`, which no file "
            "holds. Give that function again, in Python: `klamp.load(folder, network=…)` or "
            "`klamp.resume(folder, network=…)`."
        )
    if network is None:
        # As one program: drawn layer by layer, the first weights take longer than all the rest.
        build = eqx.filter_jit(lambda key: build_network(seen, actions, config.settings, key=key))
        return flatten(build(initial))
    return flatten(check_network(network(seen, actions, initial), seen, actions))


def make_policy(
    config: RunConfig, environments: HostEnvironments, model: Model, state: TrainState
) -> TrainedPolicy:
    """The policy of a state, with its normaliser."""
    return TrainedPolicy(
        model,
        state.theta,
        observation_scaling(config, state),
        environments.observation_space,
        environments.action_space,
        config,
        scheduled_log_std(config, state),
    )
