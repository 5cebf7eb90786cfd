"""What a run has led to: its policy, its metrics and its summary."""

from dataclasses import dataclass
from pathlib import Path

from klamp.config.algorithms import algorithm_name
from klamp.evaluation.policy import TrainedPolicy
from klamp.reporting.format import MADE
from klamp.runs.manifest import Spent
from klamp.runs.metrics_log import Metrics, metrics_until
from klamp.training.interface import Run
from klamp.training.metrics import counters
from klamp.training.state import Progress


@dataclass(frozen=True, repr=False)
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
    unsaved: str | None = None
    """Why the end of the run is not in its folder, and what is; None where all of it is."""

    def __repr__(self) -> str:
        """The run in one line."""
        config, mean = self.policy.config, self.summary["return_mean"]
        learnt = "no episode ended" if mean is None else f"mean return {mean:.1f}"
        return (
            f"Result({config.env}, {algorithm_name(config.algorithm)}, {self.summary['step']:,} "
            f"steps, {learnt}, folder={str(self.folder)!r})"
        )


def result_of(
    run: Run,
    state: Progress,
    folder: Path,
    spent: Spent,
    unwritten: list[Metrics],
    stopped: str | None,
) -> Result:
    """The result of a run up to a state.

    ``unwritten`` are the last lines of metrics, where the disk has not taken them yet; ``stopped``
    says why the run ended before all of its steps were made, if it did.
    """
    written = int(state.update) - len(unwritten)
    metrics = metrics_until(folder / "metrics.jsonl", written) + unwritten
    summary = counters(state) | spent._asdict() | {"folder": str(folder)}
    summary["updates_refused"] = sum(line.get("outcome") not in MADE for line in metrics)
    if stopped is not None:
        summary["stopped"] = stopped
    for line in reversed(metrics):
        if "eval_return_mean" in line:
            summary |= {name: line[name] for name in line if name.startswith("eval_")}
            break
    if metrics and metrics[-1]["update"] == int(state.update):
        # Where lines were lost, the last one is not of this policy.
        summary = metrics[-1] | summary
    return Result(run.policy(state), summary, metrics, folder)
