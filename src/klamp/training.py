"""The loop: collect → prepare → update → report, and the state that a run carries through it."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from klamp.checkpoint import latest_checkpoint, save_checkpoint
from klamp.config import AlgorithmConfig, RunConfig
from klamp.envs.contract import check_environment
from klamp.envs.host import HostEnvironments
from klamp.envs.making import make_host
from klamp.envs.spaces import check_spaces
from klamp.errors import ConfigError, EnvironmentFault
from klamp.files import write_atomically
from klamp.learning import make_learn
from klamp.metrics import Metrics, MetricsLog, read_metrics, report_metrics, to_json
from klamp.networks import (
    Model,
    NetworkBuilder,
    build_network,
    check_network,
    flatten,
    name_of,
)
from klamp.policy import TrainedPolicy
from klamp.presets import configure
from klamp.report import Reporter, Silent, reporter
from klamp.rollout import HostCollector
from klamp.run_folder import (
    choose_folder,
    create_folder,
    drop_metrics_after,
    read_config,
    write_config,
)
from klamp.seeding import Purpose, key
from klamp.state import (
    TrainState,
    action_std,
    count,
    dropout_keys,
    fresh_state,
    observation_scaling,
    observe_rewards,
    restore,
    scheduled_log_std,
)


@dataclass(frozen=True)
class Result:
    """What ``train`` returns."""

    policy: TrainedPolicy
    """The policy after the last update."""
    summary: Metrics
    """The content of `summary.json`."""
    metrics: list[Metrics]
    """The lines of `metrics.jsonl`."""
    folder: Path
    """The run's folder."""


@dataclass(frozen=True)
class Run:
    """The parts of a run that do not change: configuration, environments, functions."""

    config: RunConfig
    environments: HostEnvironments
    model: Model
    collector: HostCollector
    learn: Any
    """The jitted iteration of ``learning.make_learn``."""


def train(
    env: str,
    algorithm: AlgorithmConfig | str | None = None,
    *,
    out: str | Path | None = None,
    quiet: bool = False,
    network: NetworkBuilder | None = None,
    **settings: Any,
) -> Result:
    """Train a policy and keep the run in a folder of its own.

    ``env`` is a Gymnasium id or ``module:id``. ``algorithm`` is a config such as
    ``klamp.TRPO(max_kl=0.01)``, taken as it is, or a name such as ``"trpo"``, which takes the
    preset's settings; PPO if left out. ``settings`` are the fields of ``klamp.Settings``
    (``steps``, ``seed``, ``num_envs``, ``rollout_length``, ``discount``, …), over the preset's.
    ``out`` is the run's folder, which must not exist (or be empty); by default
    ``runs/{env}-{algorithm}-{seed}``. Progress goes to standard error unless ``quiet``.
    ``network(observation_space, action_space, key)`` builds networks of your own
    (docs/custom-networks.md); ``load`` and ``resume`` then need it again.

    Raises ``ConfigError``, ``EnvironmentFault`` or ``RunFolderError``, each with what to do.
    """
    config = configure(env, algorithm, settings)
    if network is not None:
        config = replace(config, network=name_of(network))
    return train_config(config, out=out, to=Silent() if quiet else reporter(), network=network)


def train_config(
    config: RunConfig,
    *,
    out: str | Path | None,
    to: Reporter,
    network: NetworkBuilder | None = None,
) -> Result:
    """Train a complete configuration from the beginning."""
    folder = choose_folder(config, out)
    check_environment(config.env, config.settings.vectorization, config.settings.seed)
    run, state = start(config, network)
    create_folder(folder, config)
    return _loop(run, state, folder, to)


def resume(
    folder: str | Path,
    *,
    steps: int | None = None,
    quiet: bool = False,
    network: NetworkBuilder | None = None,
) -> Result:
    """Go on with a run from its latest checkpoint, to its own number of steps or to ``steps``."""
    folder = Path(folder)
    config = read_config(folder)
    if steps is not None:
        config = RunConfig.from_dict(config.to_dict() | {"steps": steps})
        write_config(folder, config)
    run, fresh = start(config, network)
    state = restore(fresh, latest_checkpoint(folder))
    drop_metrics_after(folder / "metrics.jsonl", int(state.update))
    return _loop(run, state, folder, Silent() if quiet else reporter())


def load(folder: str | Path, *, network: NetworkBuilder | None = None) -> TrainedPolicy:
    """The policy of a run's latest checkpoint, with its normaliser; no environment stays open."""
    folder = Path(folder)
    config = read_config(folder)
    path = latest_checkpoint(folder)
    environments = make_host(config.env, 1, seed=0, purpose=Purpose.EVALUATE)
    try:
        theta, model = _network(config, environments, network)
        fresh = fresh_state(config, environments.seen_space, theta, model)
        state = restore(fresh, path)
        return _policy(config, environments, model, state)
    finally:
        environments.close()


def start(config: RunConfig, network: NetworkBuilder | None = None) -> tuple[Run, TrainState]:
    """Environments, networks and functions, and the state before the first step.

    Turns JAX's asynchronous dispatch on the CPU off for this process: every policy call is waited
    for anyway, and handing it to another thread costs more than the call.
    """
    jax.config.update("jax_cpu_enable_async_dispatch", False)
    settings = config.settings
    environments = make_host(
        config.env,
        settings.num_envs,
        seed=settings.seed,
        purpose=Purpose.EPISODE,
        vectorization=settings.vectorization,
    )
    check_spaces(config.env, environments.observation_space, environments.action_space)
    theta, model = _network(config, environments, network)
    state = fresh_state(config, environments.seen_space, theta, model)
    collector = HostCollector(
        environments,
        model,
        theta,
        settings.rollout_length,
        settings.action_bounds,
        settings.recurrent_size,
    )
    learn = make_learn(model, config.algorithm, settings)
    return Run(config, environments, model, collector, learn), state


def _network(
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
        return flatten(build_network(seen, actions, config.settings, key=initial))
    return flatten(check_network(network(seen, actions, initial), seen, actions))


def advance(run: Run, state: TrainState, learn: Callable[..., Any]) -> tuple[TrainState, Metrics]:
    """One iteration: Algorithm 1 of the papers."""
    settings, update = run.config.settings, int(state.update)
    seen = observation_scaling(run.config, state)
    rollout = run.collector.collect(
        state.theta,
        seen,
        key(settings.seed, Purpose.ACT, update),
        scheduled_log_std(run.config, state),
        dropout_keys(run.config, state),
        iteration=update,
    )
    if (fault := run.collector.first_non_finite()) is not None:
        raise EnvironmentFault(f"The {fault}; expected finite numbers.")
    std = action_std(run.config, state)
    state, factor = observe_rewards(run.config, state, rollout)
    theta, algorithm, report = learn(
        state.theta,
        state.algorithm,
        rollout,
        seen,
        factor,
        key(settings.seed, Purpose.SHUFFLE, update),
        jnp.asarray(min(int(state.step) / settings.steps, 1.0), jnp.float32),
    )
    state = count(state._replace(theta=theta, algorithm=algorithm), rollout, run.config)
    metrics = report_metrics(report)
    return state, metrics if std is None else metrics | {"action_std": std}


def compile_run(run: Run, state: TrainState) -> tuple[Callable[..., Any], float]:
    """The compiled update, and the seconds that compiling the run's functions took."""
    began = time.perf_counter()
    seen = observation_scaling(run.config, state)
    rollout = run.collector.compile(
        state.theta,
        seen,
        scheduled_log_std(run.config, state),
        dropout_keys(run.config, state),
    )
    some_key = key(run.config.settings.seed, Purpose.SHUFFLE)
    number = jnp.asarray(1.0, jnp.float32)
    lowered = run.learn.lower(state.theta, state.algorithm, rollout, seen, number, some_key, number)
    return lowered.compile(), time.perf_counter() - began


def _loop(run: Run, state: TrainState, folder: Path, to: Reporter) -> Result:
    """Iterate until the steps are done; keep metrics, checkpoints and the summary."""
    began, settings = time.perf_counter(), run.config.settings
    log = MetricsLog(folder / "metrics.jsonl")
    to.start(run.config, str(folder))
    metrics: Metrics = {}
    saved = int(state.step)
    try:
        learn, compile_s = compile_run(run, state)
        while int(state.step) < settings.steps:
            tick, before = time.perf_counter(), int(state.step)
            state, reported = advance(run, state, learn)
            spent = time.perf_counter() - tick
            metrics = _metrics(state, reported, time.perf_counter() - began, spent, before)
            log.append(metrics)
            to.update(metrics)
            if int(state.step) - saved >= settings.checkpoint_interval:
                save(run.config, state, folder)
                saved = int(state.step)
        save(run.config, state, folder)
        metrics = metrics or (read_metrics(folder / "metrics.jsonl") or [{}])[-1]
        summary = metrics | {
            "wall_s": time.perf_counter() - began,
            "compile_s": compile_s,
            "folder": str(folder),
        }
        write_atomically(folder / "summary.json", to_json(summary) + "\n")
        to.finish(summary)
    finally:
        to.stop()
        log.close()
        run.environments.close()
    policy = _policy(run.config, run.environments, run.model, state)
    return Result(policy, summary, read_metrics(folder / "metrics.jsonl"), folder)


def _metrics(
    state: TrainState, reported: Metrics, time_s: float, spent: float, before: int
) -> Metrics:
    """The line of one update: counters first."""
    return {
        "step": int(state.step),
        "update": int(state.update),
        "time_s": time_s,
        "steps_per_second": (int(state.step) - before) / spent,
        "episodes": int(state.episodes.finished),
        "return_mean": state.episodes.return_mean,
        "length_mean": state.episodes.length_mean,
    } | reported


def save(config: RunConfig, state: TrainState, folder: Path) -> Path:
    """A checkpoint of the whole state."""
    counters = {"step": int(state.step), "update": int(state.update), "env": config.env}
    return save_checkpoint(folder / "checkpoints", int(state.step), state, counters)


def _policy(
    config: RunConfig, environments: HostEnvironments, model: Model, state: TrainState
) -> TrainedPolicy:
    return TrainedPolicy(
        model,
        state.theta,
        observation_scaling(config, state),
        environments.observation_space,
        environments.action_space,
        config,
        scheduled_log_std(config, state),
    )
