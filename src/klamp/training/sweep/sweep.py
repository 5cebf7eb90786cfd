"""A sweep: many trials with different settings, of which the best is kept as a file."""

import contextlib
import shlex
import signal
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from klamp.config.environment_name import OBJECT, title_of
from klamp.config.presets import algorithm_called
from klamp.config.run import RunConfig
from klamp.config.search_space import Choice, Interval, checked_space, search_space
from klamp.config.validation import is_integer
from klamp.envs.checks.startup import check_environment
from klamp.envs.source import EnvironmentSource, resolve
from klamp.envs.wrappers import Wrap
from klamp.errors import ConfigError, KlampError, RunFolderError, Stopped, shown
from klamp.evaluation.comparison.page import About
from klamp.runs.atomic_write import write_atomically
from klamp.runtime.device import in_float32, use_device
from klamp.runtime.processes import cores
from klamp.runtime.signals import GRACE_S, Signals, StopAsked, leave_saying
from klamp.training.sweep.plan import FIRST_SEED, SweepPlan
from klamp.training.sweep.presence import presence_of
from klamp.training.sweep.progress import SweepProgress
from klamp.training.sweep.report import best_config, best_file, best_of, page, text
from klamp.training.sweep.study import (
    Study,
    Trial,
    check_installed,
    reachable,
    shown_url,
    storage_of,
)
from klamp.training.sweep.workers import LEAVE_S, study_name, task_of, work_side_by_side


@dataclass(frozen=True)
class SweepResult:
    """What a sweep has found."""

    best: Trial
    """The complete trial of the highest value."""
    config: RunConfig
    """The run of its settings, with the first seed of reporting, 0."""
    trials: list[Trial]
    """All of them, by their numbers."""
    importances: dict[str, float]
    """How much each setting mattered, as shares of 1; empty where too few trials tell it."""
    folder: Path
    """Where `best.toml`, `sweep.html`, the storage and the runs lie."""
    plan: SweepPlan
    """What the trials have in common."""

    def __str__(self) -> str:
        """The best trials, what mattered, and what to do next."""
        return (
            f"{text(self.plan, self.trials, self.importances)}\n\nPlots: "
            f"{self.folder / 'sweep.html'}\nTrain the best with seeds that were not tuned on:\n"
            f"  klamp train --config {shlex.quote(str(self.folder / 'best.toml'))} --seeds 10"
        )


def sweep(
    env: object,
    algorithm: str = "ppo",
    *,
    trials: int,
    space: Mapping[str, Interval | Choice] | None = None,
    seeds_per_trial: int = 1,
    jobs: int | None = None,
    out: str | Path | None = None,
    storage: str | None = None,
    quiet: bool = False,
    device: str = "auto",
    env_kwargs: Mapping[str, Any] | None = None,
    wrappers: Sequence[str | Wrap] | None = None,
    **settings: Any,
) -> SweepResult:
    """Try settings of an algorithm, and keep the best (docs/sweeping.md). Needs the extra `sweep`.

    ``env``, ``env_kwargs`` and ``wrappers`` are as in ``klamp.train``; ``algorithm`` is a name.
    ``space`` says what is tried, by default klamp's own for the algorithm; ``settings`` are what
    all trials have in common, such as ``steps``. The first trial has the preset's settings, so the
    best is none worse by this measure. A trial's value is the mean return over the last third of
    its updates, averaged over ``seeds_per_trial`` seeds, 1000, 1001, …, which are those of every
    trial and none that results should be reported with. Trials below the median of the others are
    ended early.

    ``jobs`` is the number of processes, by default one per core. ``out`` is the sweep's folder, by
    default ``sweeps/{env}-{algorithm}``. ``storage`` is where the trials are kept: by default a
    file in that folder; ``postgresql+psycopg://…`` for several machines. Killed at any moment and
    called again, a sweep goes on: no trial is lost and none has two results; ``trials`` is the
    number in all. A script must call this under ``if __name__ == "__main__":``.

    Raises ``ConfigError``, ``EnvironmentFault`` or ``RunFolderError``, and ``KlampError`` where no
    trial was complete.
    """
    algorithm_called(algorithm)
    source = resolve(env, env_kwargs, wrappers)
    return sweep_config(
        source,
        algorithm,
        space,
        settings,
        trials=trials,
        seeds_per_trial=seeds_per_trial,
        jobs=jobs,
        out=None if out is None else Path(out),
        storage=storage,
        quiet=quiet,
        device=device,
        signals=Signals(),
        command="klamp.sweep(…)",
    )


@in_float32
def sweep_config(
    source: EnvironmentSource,
    algorithm: str,
    space: Mapping[str, Interval | Choice] | None,
    settings: Mapping[str, Any],
    *,
    trials: int,
    seeds_per_trial: int,
    jobs: int | None,
    out: Path | None,
    storage: str | None,
    quiet: bool,
    device: str,
    signals: Signals,
    command: str,
) -> SweepResult:
    """``sweep`` with everything read, by the ``command`` that it can be gone on with."""
    check_installed()
    for name, value in (("trials", trials), ("seeds_per_trial", seeds_per_trial), ("jobs", jobs)):
        if not (value is None or is_integer(value, 1)):
            raise ConfigError(f"`{name}` is {shown(value)}, but must be an integer ≥ 1.")
    if source.name.startswith(OBJECT):
        raise ConfigError(
            f"The environment `{source.title}` is given as an object, which other processes cannot "
            "make again. Give its class, or a function that makes one."
        )
    plan = _plan(source, algorithm, space, settings, seeds_per_trial)
    out = out or _default_folder(plan)
    use_device(device)
    with signals:
        check_environment(source, plan.config({}, plan.seeds[0]).settings)
        _make(out)
        url = storage_of(out, storage)
        # It is shown, and stands on the page.
        command = command.replace(url, shown_url(url))
        with reachable(url), contextlib.closing(presence_of(url, study_name(out))) as presence:
            study = Study(url, study_name(out), plan, presence)
            progress = SweepProgress(study.trials, trials, None if quiet else sys.stderr)
            task = task_of(plan, out, url, trials, device, source)
            _work(task, jobs or cores(), progress, signals, study, command)
            return _result(study, plan, out, command)


def _default_folder(plan: SweepPlan) -> Path:
    """Below `sweeps`, by environment and algorithm."""
    env = title_of(plan.env).replace(":", "-").replace("/", "-")
    return Path("sweeps") / f"{env}-{plan.algo}"


def _plan(
    source: EnvironmentSource,
    algorithm: str,
    space: Mapping[str, Interval | Choice] | None,
    settings: Mapping[str, Any],
    seeds: int,
) -> SweepPlan:
    """What the trials have in common."""
    given = None if space is None else checked_space(space, algorithm)
    tried = search_space(source.name, algorithm, given)
    if space is None:
        # What a person has decided is not tried.
        tried = {name: part for name, part in tried.items() if name not in settings}
    return SweepPlan(
        source.name,
        algorithm,
        tried,
        dict(settings),
        tuple(range(FIRST_SEED, FIRST_SEED + seeds)),
        dict(source.env_kwargs),
        tuple(source.wrappers),
    )


def _make(out: Path) -> None:
    """The sweep's folder; ``RunFolderError`` where there is none to be had."""
    if (out / "config.json").exists():
        raise RunFolderError(f"{out} is the folder of a run. Choose another with `out=…`.")
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunFolderError(
            f"The folder {out} cannot be made ({error.strerror or error}). Choose another with "
            "`out=…`."
        ) from error


def _work(
    task: Any, jobs: int, progress: SweepProgress, signals: Signals, study: Study, command: str
) -> None:
    """Run what is missing; raises ``Stopped`` after a signal, and ``KlampError`` after a fault."""
    left = sum(not trial.ended for trial in study.trials())
    missing = max(task.trials - len(study.trials()), 0) + left
    if not missing:
        return
    signals.last_resort = leave_saying(f"go on with the same command: {command}", saved=False)
    signals.grace_s = GRACE_S + LEAVE_S
    try:
        faults = work_side_by_side(task, min(jobs, missing), progress.hear, signals)
    except StopAsked:
        ended = sum(trial.ended for trial in study.trials())
        raise Stopped(
            signals.number,
            f"{signal.Signals(signals.number).name}: {ended} of {task.trials} trials have ended, "
            "and those that were running go on from their last checkpoints; go on with the same "
            f"command: {command}",
        ) from None
    if faults and sum(trial.ended for trial in study.trials()) < task.trials:
        raise KlampError(f"{' '.join(faults)} Go on with the same command: {command}")


def _result(study: Study, plan: SweepPlan, out: Path, command: str) -> SweepResult:
    """What was found, and its two files."""
    trials = study.trials()
    best = best_of(trials)
    if best is None:
        failed = next((trial for trial in trials if trial.why is not None), None)
        said = "" if failed is None else f" Trial {failed.number} failed: {failed.why}"
        raise KlampError(
            f"None of the {len(trials)} trials of {out} was complete.{said} More steps, or another "
            "space (`--print-space`, `--space`), may help."
        )
    importances = study.importances()
    when = datetime.now().astimezone().strftime("%d %B %Y, %H:%M %Z")
    about = About(f"klamp sweep: {plan.env}, {plan.algo}", command, when, version("klamp"))
    write_atomically(out / "best.toml", best_file(plan, best, len(trials)))
    write_atomically(out / "sweep.html", page(about, plan, trials, importances))
    return SweepResult(best, best_config(plan, best), trials, importances, out, plan)
