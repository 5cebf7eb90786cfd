"""One trial: its runs, seed after seed, and their progress while they train.

A run lies in `trials/NUMBER/seed-SEED` of the sweep's folder, and is one like any other: what a
killed worker has left of it is gone on with, to the same bytes.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from klamp.envs.source import EnvironmentSource
from klamp.errors import CheckpointError, KlampError, ReporterFault, RunFolderError
from klamp.runs.folder import begun, locked, read_config, result_of, write_config
from klamp.runs.metrics_log import read_metrics
from klamp.runtime.signals import Signals
from klamp.training.callbacks import Reporters, UpdateEvent
from klamp.training.resume import resume_one
from klamp.training.sweep.plan import POINTS, PRUNED, SweepPlan, objective
from klamp.training.sweep.study import Claimed, Study

Hear = Callable[[int, float, float | None], None]
"""Called at each update with the trial, the share of it that is done, and the mean return."""


def run_folder(out: Path, number: int, seed: int) -> Path:
    """Where the run of a trial with one seed lies."""
    return out / "trials" / f"{number:04d}" / f"seed-{seed}"


def run_trial(
    study: Study,
    claimed: Claimed,
    plan: SweepPlan,
    out: Path,
    *,
    source: EnvironmentSource,
    hear: Hear,
) -> None:
    """Train with each seed, and give the trial its result, unless another worker took it over.

    What is wrong with its settings, or with its environment under them, is a failed trial; what is
    wrong with the disk or the storage is raised.
    """
    try:
        values: list[float] = []
        for index in range(len(plan.seeds)):
            value = _run(study, claimed, plan, out, index, source=source, hear=hear)
            if value is None:
                study.end(claimed, "PRUNED")
                return
            values.append(value)
    except (RunFolderError, CheckpointError, ReporterFault):
        raise
    except KlampError as error:
        study.end(claimed, "FAIL", why=str(error))
        return
    study.end(claimed, "COMPLETE", sum(values) / len(values))


def _run(
    study: Study,
    claimed: Claimed,
    plan: SweepPlan,
    out: Path,
    index: int,
    *,
    source: EnvironmentSource,
    hear: Hear,
) -> float | None:
    """The objective of the run with one of the seeds; None where it was pruned."""
    config = plan.config(claimed.settings, plan.seeds[index])
    folder = run_folder(out, claimed.number, plan.seeds[index])
    summary = result_of(config, folder) if begun(config, folder) else None
    if summary is None:
        if not (folder / "config.json").exists():
            with locked(folder):
                write_config(folder, config)
        watch = Watch(study, claimed, index, len(plan.seeds), hear)
        result, _ = resume_one(
            read_config(folder),
            folder,
            reporters=Reporters([watch]),
            environment=source,
            signals=Signals(),
        )
        if result.unsaved is not None:
            raise RunFolderError(result.unsaved)
        summary = result.summary
    if summary.get("stopped") == PRUNED:
        return None
    value = objective(read_metrics(folder / "metrics.jsonl"))
    if value is None:
        raise KlampError("no episode ended in the last third of its updates")
    return value


class Watch:
    """Compares a run with those of other trials at equal parts of its steps, and ends it if worse.

    The number that is compared is the run's `return_mean` there.
    """

    def __init__(self, study: Study, claimed: Claimed, index: int, seeds: int, hear: Hear) -> None:
        self._study, self._claimed, self._index, self._hear = study, claimed, index, hear
        self._seeds = seeds
        self._passed: int | None = None

    def update(self, event: UpdateEvent) -> None:
        """Compare where another part of the steps is done."""
        mean: Any = event.metrics["return_mean"]
        done = min(event.step / event.config.settings.steps, 1.0)
        self._hear(self._claimed.number, (self._index + done) / self._seeds, mean)
        passed = int(done * POINTS)
        if passed in (self._passed, 0):
            return
        self._passed = passed
        # At the last point there is nothing left to save.
        if mean is not None and passed < POINTS:
            point = self._index * POINTS + passed
            if self._study.report(self._claimed, point, mean):
                event.stop(PRUNED)
