"""The loop: collect → prepare → update → report, saved so that it can be stopped at any moment."""

import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

from klamp.config.algorithms import AlgorithmConfig
from klamp.config.presets import configure
from klamp.config.run import RunConfig
from klamp.envs.checks.startup import check_environment
from klamp.envs.source import environment_name, environment_of, make_host
from klamp.envs.spaces.masks import mask_sizes
from klamp.errors import KlampWarning, NotSaved
from klamp.evaluation.policy import TrainedPolicy
from klamp.networks import NetworkBuilder, flatten, name_of
from klamp.networks.build import network_maker
from klamp.reporting.console import reporter
from klamp.reporting.reporter import Reporter, Silent
from klamp.runs.checkpoint import latest_checkpoint
from klamp.runs.folder import choose_folder, locked, read_trusted_config, run_of, write_config
from klamp.runtime.device import in_float32, use_device
from klamp.runtime.seeding import Purpose, key
from klamp.runtime.signals import Signals, StopAsked
from klamp.runtime.streams import patient_stderr
from klamp.training.checkpointing import restore
from klamp.training.iteration import Iteration, make_policy, start
from klamp.training.recorder import Origin, Result, Running
from klamp.training.start_from import started, starting_from
from klamp.training.state import TrainState, fresh_state


def train(
    env: Any,
    algorithm: AlgorithmConfig | str | None = None,
    *,
    out: str | Path | None = None,
    quiet: bool = False,
    network: NetworkBuilder | None = None,
    device: str = "auto",
    start_from: str | Path | None = None,
    **settings: Any,
) -> Result:
    """Train a policy and keep the run in a folder of its own.

    ``env`` is a Gymnasium id, ``module:id``, the id of an environment written in JAX such as
    ``gymnax:CartPole-v1``, or an object that is one (docs/jax-environments.md). ``algorithm`` is a
    config such as ``klamp.TRPO(max_kl=0.01)``, taken as it is, or a name such as ``"trpo"``, which
    takes the preset's settings; PPO if left out. ``settings`` are the fields of ``klamp.Settings``
    (``steps``, ``seed``, ``num_envs``, ``rollout_length``, ``discount``, …), over the preset's;
    with a config, over what the presets of all algorithms have in common for ``env``. A setting
    that would do nothing in this run is refused.
    ``out`` is the run's folder, which must not exist (or be empty); by default
    ``runs/{env}-{algorithm}-{seed}``. Progress goes to standard error unless ``quiet``.
    ``network(observation_space, action_space, key)`` builds networks of your own
    (docs/custom-networks.md); ``load`` and ``resume`` then need it again. ``device`` is ``cpu``,
    ``gpu``, or ``auto``, which leaves it to JAX. ``start_from`` is the folder of another run, or of
    one of its checkpoints: this run begins with its parameters and observation normaliser, and with
    nothing else of it. Both must have the same spaces and network settings.

    Raises ``ConfigError``, ``EnvironmentFault`` or ``RunFolderError``, each with what to do. Where
    a full disk keeps the end of the run from its folder, the result has it all the same
    (``Result.unsaved``, and a ``KlampWarning``).
    """
    config = configure(environment_name(env), algorithm, settings)
    if network is not None:
        config = replace(config, network=name_of(network))
    if start_from is not None:
        config = starting_from(config, start_from)
    to = Silent() if quiet else reporter()
    own = None if isinstance(env, str) else env
    return told(
        train_config(config, out=out, to=to, network=network, device=device, environment=own)
    )


@in_float32
@patient_stderr()
def train_config(
    config: RunConfig,
    *,
    out: str | Path | None,
    to: Reporter,
    network: NetworkBuilder | None = None,
    signals: Signals | None = None,
    device: str = "auto",
    environment: Any = None,
) -> Result:
    """Train a complete configuration from the beginning."""
    choose_folder(config, out)
    use_device(device)
    check_environment(environment_of(config, environment), config.settings)
    return train_one(
        config, out=out, to=to, network=network, signals=signals, environment=environment
    )[0]


@in_float32
@patient_stderr()
def train_one(
    config: RunConfig,
    *,
    out: str | Path | None,
    to: Reporter,
    network: NetworkBuilder | None = None,
    signals: Signals | None = None,
    like: Iteration | None = None,
    environment: Any = None,
) -> tuple[Result, Iteration]:
    """The same with an environment that was checked before; ``like`` lends what it compiled."""
    folder = choose_folder(config, out)
    run, state = start(config, network, like, environment)
    try:
        state = started(run, state)
        with locked(folder):
            # Another process may have been faster.
            write_config(choose_folder(config, folder), config)
            return run_to_end(run, state, folder, to, signals or Signals(), None), run
    finally:
        run.close()


def told(result: Result) -> Result:
    """Warn of a result that is not all in its folder."""
    if result.unsaved is not None:
        warnings.warn(result.unsaved, KlampWarning, stacklevel=3)
    return result


@in_float32
def load(
    folder: str | Path,
    *,
    network: NetworkBuilder | None = None,
    environment: Any = None,
    trust: bool = False,
) -> TrainedPolicy:
    """The policy of a run's latest checkpoint, with its normaliser; no environment stays open.

    ``network`` and ``environment`` are the run's own, where it was given such. ``trust`` has the
    module be imported that the environment's name names, whoever wrote it there.
    """
    config = read_trusted_config(run_of(Path(folder)), trust)
    path = latest_checkpoint(Path(folder))
    environments = make_host(
        environment_of(config, environment), 1, seed=0, purpose=Purpose.EVALUATE
    )
    try:
        draw = network_maker(config, environments, network)
        theta, model = flatten(draw(key(config.settings.seed, Purpose.INITIALISE)))
        fresh = fresh_state(config, environments.seen_space, theta, model)
        state, _ = restore(fresh, path)
        if mask_sizes(environments.action_space) and environments.action_mask is None:
            environments.reset()  # only its info tells whether an environment has action masks
        return make_policy(config, environments, model, state)
    finally:
        environments.close()


def run_to_end(
    run: Iteration,
    state: TrainState,
    folder: Path,
    to: Reporter,
    signals: Signals,
    origin: Origin | None,
) -> Result:
    """Iterate until the steps are done; keep metrics, checkpoints and the summary."""
    running = Running(run, state, folder, to, origin)
    signals.last_resort = running.stop
    try:
        with signals:
            to.start(run.config, str(folder))
            try:
                signals.check()
                if not running.done:
                    running.compiled(run.compile(running.state))
                while not running.done:
                    running.iterate(signals)
                signals.check()
            except StopAsked:
                raise running.stop(signals.number) from None
            except NotSaved as error:
                error.result = running.result()
                raise
        return running.finish()
    finally:
        running.close()
