"""The loop: collect → prepare → update → report, saved so that it can be stopped at any moment."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol, TypeVar

from klamp.config.algorithms import AlgorithmConfig
from klamp.config.presets import configure
from klamp.config.run import RunConfig
from klamp.envs.checks.startup import check_environment
from klamp.envs.source import EnvironmentSource, given_again, resolve, source_of
from klamp.envs.spaces.masks import mask_sizes
from klamp.envs.wrappers import Wrap
from klamp.errors import KlampWarning, NotSaved, ReporterFault
from klamp.evaluation.periodic import PeriodicEvaluation, check_films
from klamp.evaluation.policy import TrainedPolicy
from klamp.networks import NetworkBuilder, flatten
from klamp.networks.build import network_to_fill
from klamp.reporting.format import mostly_refused
from klamp.runs.checkpoint_choice import Choice, chosen_checkpoint
from klamp.runs.folder import choose_folder, locked, read_trusted_config, run_of, write_config
from klamp.runs.metrics_log import Metrics
from klamp.runs.overwrite import remove_run, replaceable
from klamp.runtime.device import in_float32, use_device
from klamp.runtime.joined import ALONE, Processes
from klamp.runtime.qualified_name import qualified_name
from klamp.runtime.seeding import EnvironmentSeeds, Purpose, key
from klamp.runtime.signals import Signals, StopAsked
from klamp.runtime.streams import patient_stderr
from klamp.training.callbacks import Report, Reporters, gather
from klamp.training.checkpointing import restore
from klamp.training.iteration import Iteration, make_policy, start
from klamp.training.recorder import RunRecorder
from klamp.training.result import Result
from klamp.training.start_from import started, starting_from
from klamp.training.state import fresh_state


def train(
    env: object,
    algorithm: AlgorithmConfig | str | None = None,
    *,
    out: str | Path | None = None,
    quiet: bool = False,
    report: Report | Sequence[Report] = (),
    network: NetworkBuilder | str | None = None,
    device: str = "auto",
    env_kwargs: Mapping[str, Any] | None = None,
    wrappers: Sequence[str | Wrap] | None = None,
    start_from: str | Path | None = None,
    overwrite: bool = False,
    **settings: Any,
) -> Result:
    """Train a policy and keep the run in a folder of its own.

    ``env`` is a Gymnasium id, ``module:id``, a class or function that makes an environment or a
    vector environment, a vector environment itself (docs/environments.md), the id of an environment
    written in JAX such as ``gymnax:CartPole-v1``, or an object that is one
    (docs/jax-environments.md). ``env_kwargs`` are arguments of the environment's constructor;
    ``wrappers`` are names such as ``"frame-stack=4"``, or callables ``env → env``, the innermost
    first; Atari's (``ALE/…``) have their usual ones if left out. ``algorithm`` is a config such as
    ``klamp.TRPO(max_kl=0.01)``, taken as it is, or a name such as ``"trpo"``, which takes the
    preset's settings, or an object of your own class (examples/own_algorithm.py); PPO if left out.
    ``settings`` are the fields of ``klamp.Settings`` (``steps``, ``seed``, ``num_envs``,
    ``rollout_length``, ``discount``, …), over the preset's; with a config, over what the presets of
    all algorithms have in common for ``env``. A setting that would do nothing in this run is
    refused. ``out`` is the run's folder, which must not exist (or be empty); by default
    ``runs/{env}-{algorithm}-{seed}``. With ``overwrite`` a run in that folder is removed, after
    everything else that may fail was tried; a folder with other content is never removed. Progress
    goes to standard error unless ``quiet``. ``report`` is called at each update: objects with a
    method ``update(event)``, functions of the event, and the names of logs, ``"csv"``,
    ``"episodes"``, ``"tensorboard"`` and ``"wandb"`` (docs/callbacks.md).
    ``network(observation_space, action_space, key)`` builds networks of your own, and may be given
    as ``"module:function"`` (docs/custom-networks.md); ``load`` and ``resume`` need it again where
    it cannot be imported by its name. ``device`` is ``cpu``, ``gpu``, or ``auto``, which leaves it
    to JAX. ``start_from`` is the folder of another run, or of one of its checkpoints: this run
    begins with its parameters and observation normaliser, and nothing else. Both must have the same
    spaces and network settings.

    Raises ``ConfigError``, ``EnvironmentFault`` or ``RunFolderError``, each with what to do, and
    ``ReporterFault`` where one of ``report`` raises. Where
    a full disk keeps the end of the run from its folder, the result has it all the same
    (``Result.unsaved``, and a ``KlampWarning``); where a signal stops a run that cannot be saved,
    ``Stopped.result`` has it.
    """
    source = resolve(env, env_kwargs, wrappers)
    if source.rows is not None:
        settings.setdefault("num_envs", source.rows)
    config = configure(
        source.name,
        algorithm,
        settings,
        env_kwargs=source.env_kwargs,
        wrappers=source.wrappers,
    )
    if network is not None:
        named = isinstance(network, str)
        config = replace(config, network=network if named else qualified_name(network))
    if start_from is not None:
        config = starting_from(config, start_from)
    return told(
        train_config(
            config,
            out=out,
            reporters=gather(report, quiet=quiet),
            network=None if isinstance(network, str) else network,
            device=device,
            environment=source,
            overwrite=overwrite,
        )
    )


@in_float32
@patient_stderr()
def train_config(
    config: RunConfig,
    *,
    out: str | Path | None,
    reporters: Reporters,
    network: NetworkBuilder | None = None,
    signals: Signals | None = None,
    device: str = "auto",
    environment: EnvironmentSource | None = None,
    overwrite: bool = False,
    processes: Processes = ALONE,
) -> Result:
    """Train a complete configuration from the beginning.

    Where several ``processes`` share the run, this is called in process 0, and ``follow`` in the
    others.
    """
    (replaceable if overwrite else choose_folder)(config, out)
    use_device(device)
    source = environment or source_of(config)
    check_environment(source, config.settings)
    check_films(config, source)
    return train_one(
        config,
        out=out,
        reporters=reporters,
        network=network,
        signals=signals,
        environment=source,
        overwrite=overwrite,
        processes=processes,
    )[0]


@in_float32
@patient_stderr()
def train_one(
    config: RunConfig,
    *,
    out: str | Path | None,
    reporters: Reporters,
    network: NetworkBuilder | None = None,
    signals: Signals | None = None,
    compiled_by: Iteration | None = None,
    environment: EnvironmentSource | None = None,
    overwrite: bool = False,
    processes: Processes = ALONE,
) -> tuple[Result, Iteration]:
    """The same with an environment that was checked before.

    ``compiled_by``: a run that differs only in its seed, whose programs are used.
    """
    folder = (replaceable if overwrite else choose_folder)(config, out)
    run, state = start(config, network, compiled_by, environment, processes)
    try:
        state = started(run, state)
        with locked(folder):
            if overwrite:
                remove_run(folder)
            # Another process may have been faster.
            write_config(choose_folder(config, folder), config)
            evaluation = PeriodicEvaluation(config, environment)
            running = RunRecorder(run, state, folder, reporters, evaluation)
            return run_to_end(running, signals or Signals()), run
    finally:
        run.close()


class Ended(Protocol):
    """What a run leaves behind, of a control task or a language model."""

    @property
    def unsaved(self) -> str | None:
        """What could not be saved, and why; None where all was."""
        ...

    @property
    def summary(self) -> Metrics:
        """What `summary.json` holds."""
        ...


AnyResult = TypeVar("AnyResult", bound=Ended)


def told(result: AnyResult) -> AnyResult:
    """Warn of a result that is not all in its folder, or of updates that were mostly refused."""
    for problem in (result.unsaved, mostly_refused(result.summary)):
        if problem is not None:
            warnings.warn(problem, KlampWarning, stacklevel=3)
    return result


@in_float32
def load(
    folder: str | Path,
    *,
    algorithm: AlgorithmConfig | None = None,
    checkpoint: Choice = "last",
    network: NetworkBuilder | None = None,
    environment: object = None,
    wrappers: Sequence[str | Wrap] | None = None,
    trust: bool = False,
) -> TrainedPolicy:
    """The policy of one of a run's checkpoints, with its normaliser; no environment stays open.

    ``checkpoint`` is ``"last"``, ``"best"``, which is that of the highest mean return (of the
    evaluations while it trained, where there were any, else of the training), or a step.
    ``algorithm``, ``network``, ``environment`` and ``wrappers`` are the run's own, to be given
    again where its `config.json` does not lead to them. With ``trust``, the modules that
    `config.json` names are imported, whoever wrote it.
    """
    again = given_again(environment, wrappers, network)
    config = read_trusted_config(run_of(Path(folder)), trust, again, algorithm)
    path = chosen_checkpoint(Path(folder), checkpoint)
    source = source_of(config, environment, wrappers)
    environments = source.host(1, EnvironmentSeeds(0, Purpose.EVALUATE))
    try:
        first = key(config.settings.seed, Purpose.INITIALISE)
        theta, model = flatten(network_to_fill(config, environments, network, first))
        fresh = fresh_state(config, environments.policy_observation_space, theta, model)
        state, _ = restore(fresh, path)
        if mask_sizes(environments.action_space) and environments.action_mask is None:
            environments.reset()  # only its info tells whether an environment has action masks
        return make_policy(config, environments, model, state)
    finally:
        environments.close()


def run_to_end(running: RunRecorder[Any], signals: Signals) -> Result:
    """Iterate until the steps are done; keep metrics, checkpoints and the summary."""
    signals.last_resort = running.stop
    try:
        with signals:
            running.begin()
            try:
                signals.check()
                running.compile()
                while not running.done:
                    running.iterate(signals)
                signals.check()
            except StopAsked:
                stopped = running.stop(signals.number)
                stopped.result = None if stopped.saved else running.result()
                raise stopped from None
            except NotSaved as error:
                error.result = running.result()
                raise
            except ReporterFault as fault:
                raise running.failed(fault) from fault.__cause__
        return running.finish()
    finally:
        running.close()
