"""Going on with a run from one of its checkpoints, as if it had never been stopped."""

import warnings
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from klamp.config.algorithms import AlgorithmConfig, final_values
from klamp.config.run import Configuration, RunConfig
from klamp.envs.source import EnvironmentSource, given_again, source_of
from klamp.envs.wrappers import Wrap
from klamp.errors import ConfigError, KlampWarning
from klamp.evaluation.periodic import PeriodicEvaluation
from klamp.networks import NetworkBuilder
from klamp.runs.checkpoint import latest_checkpoint, verify
from klamp.runs.folder import locked, nothing_trained, read_trusted_config, run_of, write_config
from klamp.runs.metrics_log import metrics_until
from klamp.runs.rewind import aside_of, begin_line
from klamp.runtime.device import in_float32, use_device
from klamp.runtime.joined import ALONE, Processes
from klamp.runtime.provenance import differences, fingerprint
from klamp.runtime.signals import Signals
from klamp.runtime.streams import patient_stderr
from klamp.training.callbacks import Report, Reporters, gather
from klamp.training.checkpointing import facts_of, restore
from klamp.training.iteration import Iteration, start
from klamp.training.recorder import Origin, RunRecorder
from klamp.training.result import Result
from klamp.training.start_from import started
from klamp.training.state import TrainState
from klamp.training.train import run_to_end, told

Described = TypeVar("Described", bound=Configuration)
"""The configuration of a run, whatever it trains."""


@in_float32
def resume(
    folder: str | Path,
    *,
    steps: int | None = None,
    quiet: bool = False,
    algorithm: AlgorithmConfig | None = None,
    report: Report | Sequence[Report] = (),
    network: NetworkBuilder | None = None,
    signals: Signals | None = None,
    device: str = "auto",
    environment: object = None,
    wrappers: Sequence[str | Wrap] | None = None,
    trust: bool = False,
) -> Result:
    """Go on with a run from its latest checkpoint, to its own number of steps or to ``steps``.

    ``folder`` is the run's, or that of one of its checkpoints, which is then the one taken: what
    came after it is set aside (``KlampWarning``) once the run writes something. ``report`` is as in
    ``train``; a run does not record its reporters. ``algorithm``, ``network``, ``environment`` and
    ``wrappers`` are the run's own, to be given again where its `config.json` does not lead to them.
    With ``trust``, the modules that `config.json` names are imported, whoever wrote it.

    The run ends with the same bytes as if it had never been stopped. Where that is not possible, as
    with an environment that does not repeat itself, there is a ``KlampWarning``.
    """
    return told(
        go_on(
            folder,
            steps=steps,
            reporters=gather(report, quiet=quiet),
            algorithm=algorithm,
            network=network,
            signals=signals,
            device=device,
            environment=environment,
            wrappers=wrappers,
            trust=trust,
        )
    )


@in_float32
@patient_stderr()
def go_on(
    folder: str | Path,
    *,
    steps: int | None,
    reporters: Reporters,
    algorithm: AlgorithmConfig | None = None,
    network: NetworkBuilder | None = None,
    signals: Signals | None = None,
    device: str = "auto",
    environment: object = None,
    wrappers: Sequence[str | Wrap] | None = None,
    trust: bool = False,
    processes: Processes = ALONE,
) -> Result:
    """``resume`` without its warning of what could not be saved, which is left to the caller."""
    use_device(device)
    path = Path(folder)
    root = run_of(path)
    again = given_again(environment, wrappers, network)
    config = read_trusted_config(root, trust, again, algorithm)
    warn_where_it_begins_again(root, stacklevel=5)
    return resume_one(
        config,
        path,
        reporters=reporters,
        steps=steps,
        network=network,
        signals=signals,
        environment=source_of(config, environment, wrappers),
        processes=processes,
    )[0]


@in_float32
@patient_stderr()
def resume_one(
    config: RunConfig,
    path: Path,
    *,
    reporters: Reporters,
    steps: int | None = None,
    network: NetworkBuilder | None = None,
    signals: Signals | None = None,
    compiled_by: Iteration | None = None,
    environment: EnvironmentSource | None = None,
    processes: Processes = ALONE,
) -> tuple[Result, Iteration]:
    """The same with a configuration that was read before.

    ``compiled_by``: a run that differs only in its seed, whose programs are used.
    """
    root = run_of(path)
    with locked(root):
        config, _ = gone_on_from(config, path, steps)
        run, fresh = start(config, network, compiled_by, environment, processes)
        try:
            state, origin = begin_or_go_on(run, fresh, path)
            evaluation = PeriodicEvaluation(config, environment)
            running = RunRecorder(run, state, root, reporters, evaluation, origin)
            return run_to_end(running, signals or Signals()), run
        finally:
            run.close()


def begin_or_go_on(
    run: Iteration, fresh: TrainState, path: Path
) -> tuple[TrainState, Origin | None]:
    """The state of the latest checkpoint and its origin; ``fresh`` where there is none."""
    root = run_of(path)
    if nothing_trained(root):
        state = started(run, fresh)
        write_config(root, run.config)
        return state, None
    at = latest_checkpoint(path)
    facts = verify(at)
    state = put_back(run, fresh, root, at)
    begin = partial(
        begin_line, root, facts.step, int(state.update), config=run.config, aside=aside_of(root)
    )
    return state, Origin(facts.step, facts.spent, begin)


def gone_on_from(config: Described, path: Path, steps: int | None) -> tuple[Described, Path | None]:
    """A run's configuration, with its new number of steps, and the checkpoint that it goes on from.

    ``path`` is the run's folder or that of a checkpoint. There is none where nothing was trained.
    """
    at = None if nothing_trained(run_of(path)) else latest_checkpoint(path)
    if steps is not None:
        config = with_steps(config, steps, 0 if at is None else verify(at).step)
    return config, at


def with_steps(config: Described, steps: int, done: int) -> Described:
    """A run's configuration with another number of steps, of which ``done`` are made.

    Schedules keep the number of steps that the run was started with: nothing jumps at the resume.
    """
    settings = config.settings
    if steps == settings.steps:
        return config
    ends, horizon = final_values(config.algorithm), settings.schedule_steps or settings.steps
    kept = horizon if ends and horizon != steps else None
    whole: Any = config  # a frozen dataclass, and so are its settings
    settings = replace(whole.settings, steps=steps, schedule_steps=kept)
    changed: Described = replace(whole, settings=settings)
    refuse_fewer(steps, done)
    if steps > horizon and ends.get("learning_rate") == 0:
        raise ConfigError(
            f"`steps` is {steps:,}, but the learning rate of this run falls to 0 by step "
            f"{horizon:,} and stays there, so nothing would be learnt after that. Train another "
            f"run with `steps={steps}`."
        )
    if kept is not None:
        ending = ", ".join(f"{name} to {end:g}" for name, end in ends.items())
        warnings.warn(
            f"The run gets {steps:,} steps, but its schedule ({ending}) keeps to the {horizon:,} "
            "steps that it was begun with, and what comes after them has the final values.",
            KlampWarning,
            stacklevel=6,
        )
    return changed


def refuse_fewer(steps: int, done: int) -> None:
    """Raise ``ConfigError`` where a run has made more steps than it is to have."""
    if steps < done:
        raise ConfigError(
            f"`steps` is {steps:,}, but {done:,} steps are made already at the checkpoint that the "
            "run goes on from. Give more steps, or name an earlier checkpoint: "
            "`klamp.resume('RUN/checkpoints/step_…', steps=…)`."
        )


def put_back(run: Iteration, fresh: TrainState, root: Path, path: Path) -> TrainState:
    """The state of a checkpoint, with the environments where they were; metrics can be read."""
    state, position = restore(fresh, path)
    problems = run.restore(position)
    if problems:
        problems = [f"{'; '.join(problems)} (the environment does not repeat itself)"]
    problems += differences(verify(path).made_with, fingerprint() | facts_of(run.config))
    warn_where_inexact(root, path, problems, stacklevel=9)
    metrics_until(root / "metrics.jsonl", int(state.update))
    return state


def warn_where_it_begins_again(root: Path, *, stacklevel: int) -> None:
    """Warn where a run was stopped before anything was trained; as in ``warn_where_inexact``."""
    if nothing_trained(root):
        warnings.warn(
            f"{root} was stopped before its first step: nothing had been trained, so the "
            "run begins at step 0.",
            KlampWarning,
            stacklevel=stacklevel,
        )


def warn_where_inexact(root: Path, path: Path, problems: list[str], *, stacklevel: int) -> None:
    """Warn of what may keep a run that goes on from a checkpoint from being the one never stopped.

    ``stacklevel`` counts from here, as in ``warnings.warn``.
    """
    if problems:
        warnings.warn(
            f"{root} goes on from {path.name}, but perhaps not to the last bit as if it had never "
            f"been stopped: {'; '.join(problems)}.",
            KlampWarning,
            stacklevel=stacklevel,
        )
