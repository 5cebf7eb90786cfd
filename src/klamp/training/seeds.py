"""One configuration under many seeds at once, a folder per run.

On a CPU by a process per core (``seeds_processes``): each run has the same bytes as a run of its
seed alone. It is trained by the same loop, in a process that uses its compiled programs for one
seed after the other. Environments written in JAX on a GPU, and those given as objects, as one
program (``seeds_vmapped``). Every run's `config.json` is written before the first one begins, so
that the folders tell what is missing, and the same command goes on with it.

What trains is imported where it trains: the process that waits for the others needs none of it.
"""

import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from klamp.config.algorithms import AlgorithmConfig
from klamp.config.environment_name import OBJECT
from klamp.config.presets import configure
from klamp.config.run import RunConfig
from klamp.config.validation import is_integer
from klamp.envs.checks.startup import check_environment
from klamp.envs.source import EnvironmentSource, resolve, source_of
from klamp.envs.wrappers import Wrap
from klamp.errors import ConfigError, KlampError, RunFolderError, Stopped, shown
from klamp.reporting.format import together
from klamp.reporting.logs import LOGS, log_of
from klamp.reporting.seeds_console import seeds_reporter
from klamp.reporting.seeds_progress import FAILED, Progress
from klamp.runs.checkpoint import latest_checkpoint, verify
from klamp.runs.folder import (
    begun,
    folder_of,
    locked,
    nothing_trained,
    read_trusted_config,
    result_of,
    runs_of_seeds,
    write_config,
)
from klamp.runs.overwrite import remove_run, replaceable
from klamp.runtime.device import cpu as on_cpu
from klamp.runtime.device import in_float32, use_device
from klamp.runtime.processes import cores
from klamp.runtime.signals import GRACE_S, Signals, StopAsked, leave_saying
from klamp.training.callbacks import Reporters
from klamp.training.seeds_processes import (
    LEAVE_S,
    PipeReporter,
    Plan,
    SeedsNotSaved,
    Unfinished,
    train_side_by_side,
)


def train_seeds(
    env: object,
    algorithm: AlgorithmConfig | str | None = None,
    *,
    seeds: int | Sequence[int],
    out: str | Path | None = None,
    workers: int | None = None,
    quiet: bool = False,
    report: Sequence[str] = (),
    device: str = "auto",
    env_kwargs: Mapping[str, Any] | None = None,
    wrappers: Sequence[str | Wrap] | None = None,
    start_from: str | Path | None = None,
    overwrite: bool = False,
    **settings: Any,
) -> list[Path]:
    """Train with each seed, many at once; the folders, one per seed.

    ``seeds`` are numbers, or how many from ``seed`` (0) on. ``out`` is a folder that gets
    ``seed-0``, ``seed-1``, …; by default each run lies where ``train`` would put it. ``workers``
    is the number of processes, by default one per core. ``report`` are names of logs, of which
    each run gets its own: a callback would run in other processes, where nothing of this one is
    seen; train each seed by ``train`` to have one. A script must call this under
    ``if __name__ == "__main__":``. Called again, it goes on with what is missing: runs that have
    ended stay as they are, those that were interrupted are resumed, the others begin; each from
    the parameters of another run where ``start_from`` is its folder, as ``train`` has it. With
    ``overwrite`` all of them begin, and those that were there are removed.

    An environment written in JAX is trained as one program for all seeds where there is a GPU, or
    where it is given as an object; the runs then differ from those trained alone by rounding.
    """
    source = resolve(env, env_kwargs, wrappers)
    if source.rows is not None:
        raise ConfigError(
            f"The environment is one vector environment, `{source.title}`, which many seeds cannot "
            "share. Give its class, or a function of `num_envs` that makes one."
        )
    config = configure(
        source.name,
        algorithm,
        settings,
        env_kwargs=source.env_kwargs,
        wrappers=source.wrappers,
    )
    if start_from is not None:
        from klamp.training.start_from import starting_from

        config = starting_from(config, start_from)
    first = config.settings.seed
    numbers = count_up(first, seeds) if isinstance(seeds, int) else list(seeds)
    return train_seeds_config(
        config,
        numbers,
        out=out,
        workers=workers,
        quiet=quiet,
        report=report,
        device=device,
        signals=Signals(),
        environment=source,
        overwrite=overwrite,
    )


def count_up(first: int, seeds: int) -> list[int]:
    """So many seeds from the first on."""
    if not is_integer(seeds, 1):
        raise ConfigError(f"`seeds` is {seeds!r}, but must be an integer ≥ 1.")
    return list(range(first, first + seeds))


def _names(report: Sequence[str]) -> list[str]:
    """The logs that each run gets, all of which can be made here."""
    names: list[Any] = [report] if isinstance(report, str) else list(report)
    for name in names:
        if not isinstance(name, str):
            raise ConfigError(
                f"`report` has {shown(name)}, but many seeds take only {', '.join(LOGS)}: they are "
                "trained in other processes, where a callback would see nothing of this one. Train "
                "each seed by `klamp.train(…, seed=…, report=…)`."
            )
        log_of(name)
    return names


@in_float32
def train_seeds_config(
    config: RunConfig,
    seeds: list[int],
    *,
    out: str | Path | None,
    workers: int | None,
    quiet: bool,
    device: str,
    signals: Signals,
    report: Sequence[str] = (),
    environment: EnvironmentSource | None = None,
    overwrite: bool = False,
    again: str = "the same call",
) -> list[Path]:
    """Train a complete configuration with each seed; go on where some were trained before."""
    logs = _names(report)
    plans: list[Plan] = []
    for seed in seeds:
        one = replace(config, settings=replace(config.settings, seed=seed))
        plans.append((one, folder_of(one, None if out is None else Path(out) / f"seed-{seed}")))
    there = [not overwrite and begun(*plan) for plan in plans]
    if overwrite:
        for plan in plans:
            replaceable(*plan)
    use_device(device)
    with signals:
        source = environment or source_of(config)
        check_environment(source, config.settings)
        # Nothing is made before each folder is known to be free, or to hold that very run.
        for (one, folder), held in zip(plans, there, strict=True):
            if not held:
                with locked(folder):
                    if overwrite:
                        remove_run(folder)
                    write_config(folder, one)
        _go_on(plans, out, workers, quiet, device, signals, source, logs, again)
    return [folder for _, folder in plans]


@in_float32
def resume_seeds(
    folder: Path,
    *,
    steps: int | None,
    quiet: bool,
    device: str,
    signals: Signals,
    trust: bool,
    again: str,
    report: Sequence[str] = (),
) -> None:
    """Go on with what is missing of a folder of seeds, to their own number of steps or another."""
    from klamp.training.resume import refuse_fewer

    logs = _names(report)
    plans: list[Plan] = []
    for run in runs_of_seeds(folder):
        if steps is not None and not nothing_trained(run):
            refuse_fewer(steps, verify(latest_checkpoint(run)).step)
        data = read_trusted_config(run, trust).to_dict() | (
            {} if steps is None else {"steps": steps}
        )
        plans.append((RunConfig.from_dict(data), run))
    first, at = plans[0]
    for config, run in plans:
        if replace(config, settings=replace(config.settings, seed=first.settings.seed)) != first:
            raise RunFolderError(
                f"The runs {at} and {run} differ in more than their seed, so they are not one "
                "command's. Resume each by itself."
            )
    use_device(device)
    with signals:
        source = source_of(first)
        check_environment(source, first.settings)
        _go_on(plans, folder, None, quiet, device, signals, source, logs, again)


def _go_on(
    plans: list[Plan],
    out: str | Path | None,
    workers: int | None,
    quiet: bool,
    device: str,
    signals: Signals,
    source: EnvironmentSource,
    logs: list[str],
    again: str,
) -> None:
    """Train the runs that are not finished; raises ``KlampError`` where some stay unfinished."""
    seeds = [config.settings.seed for config, _ in plans]
    telling = seeds_reporter(Progress(plans[0][0], seeds), None if quiet else sys.stderr)
    missing: list[Plan] = []
    for config, folder in plans:
        if (summary := result_of(config, folder)) is None:
            missing.append((config, folder))
        else:
            telling.progress.had(config.settings.seed, summary)

    def hear(kind: str, seed: int, told: Any) -> None:
        telling.hear(kind, seed, signals.words(told) if kind == FAILED else told)

    try:
        telling.start()
        if missing:
            left = _train(missing, workers, device, signals, source, logs, hear, again)
            if left.failed or left.not_begun:
                raise KlampError(_what_is_left(left, len(plans), again))
        telling.finish(together(out, [str(folder) for _, folder in plans]))
    except (StopAsked, SeedsNotSaved) as asked:
        said, complete = "every run that had begun was saved", True
        if isinstance(asked, SeedsNotSaved):
            complete = False
            said += f", but for what seeds {_listed(asked.seeds)} did after their last checkpoints"
        name = signal.Signals(signals.number).name
        text = f"{name}: {said}; go on with {again}"
        raise Stopped(signals.number, text, complete) from None
    finally:
        telling.close()


def _train(
    missing: list[Plan],
    workers: int | None,
    device: str,
    signals: Signals,
    source: EnvironmentSource,
    logs: list[str],
    hear: Callable[[str, int, Any], None],
    again: str,
) -> Unfinished:
    """Train those runs, as one program or in processes; ``hear`` is told how far each is."""
    if runs_as_one_program(source, missing[0][0]):
        from klamp.training.seeds_vmapped import train_as_one

        def reporters(config: RunConfig) -> Reporters:
            telling = PipeReporter(lambda word: hear(*word), config)
            return Reporters(logs=[*map(log_of, logs), telling])

        return Unfinished(train_as_one(missing, source, reporters, signals), [])
    # The processes save by themselves; this one must not exit before they have.
    unknown = f"not every process has said that its run was saved; go on with {again}"
    signals.last_resort = leave_saying(unknown, saved=False)
    signals.grace_s = GRACE_S + LEAVE_S
    count = min(workers or cores(), len(missing))
    return train_side_by_side(missing, source, count, device, hear, signals, logs)


def _what_is_left(left: Unfinished, runs: int, again: str) -> str:
    """What failed, why, what has not begun, and how to go on."""
    failed = f"{len(left.failed)} of {runs} runs failed. {' '.join(left.failed)}"
    if left.not_begun:
        failed += f" Not begun: seeds {_listed(left.not_begun)}."
    return f"{failed} Go on with what is missing by {again}"


def _listed(seeds: list[int]) -> str:
    return ", ".join(str(seed) for seed in seeds)


def runs_as_one_program(source: EnvironmentSource, config: RunConfig) -> bool:
    """Whether the runs become one program: on a CPU that is no faster than one after the other."""
    if source.device(config.settings.vectorization) is None or config.settings.shards > 1:
        return False
    return config.env.startswith(OBJECT) or not on_cpu()
