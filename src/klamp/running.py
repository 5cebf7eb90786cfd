"""A run under way: where it stands, what it has written, and whom it tells."""

import sys
import time
from dataclasses import dataclass
from pathlib import Path

from klamp.errors import NonFiniteError
from klamp.files import write_atomically
from klamp.iteration import Boundary, Iteration
from klamp.metrics import Metrics, MetricsLog, read_metrics, to_json
from klamp.policy import TrainedPolicy
from klamp.report import Reporter
from klamp.saving import Saver
from klamp.signals import Signals, stop_line
from klamp.state import TrainState

REFUSALS = 10
"""Updates in a row that may be refused because something is not finite."""


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


class Running:
    """Keeps metrics, checkpoints and the summary of a run while it iterates."""

    def __init__(
        self, run: Iteration, state: TrainState, folder: Path, to: Reporter, *, saved_at: int | None
    ) -> None:
        """``saved_at``: the step of the checkpoint that the run goes on from; None at its start."""
        self._run, self._folder, self._to = run, folder, to
        self._began = time.perf_counter()
        self._saver, self._log = Saver(run.config, folder), MetricsLog(folder / "metrics.jsonl")
        self._boundary = Boundary(state, run.position())
        if saved_at is None:
            self.save()

    @property
    def state(self) -> TrainState:
        """The state after the last iteration."""
        return self._boundary.state

    @property
    def done(self) -> bool:
        """Whether all steps are made."""
        return int(self.state.step) >= self._run.config.settings.steps

    @property
    def saved(self) -> str:
        """What is to be said after ``save``."""
        return f"saved at step {int(self.state.step):,}"

    def save(self) -> None:
        """Write a checkpoint of where the run stands."""
        self._saver.save(self._boundary)

    def last_resort(self, number: int) -> None:
        """Save from another thread, because a signal was not answered in time, and say so."""
        self.save()
        print(stop_line(number, self.saved, self._folder), file=sys.stderr, flush=True)

    def iterate(self, signals: Signals) -> None:
        """One iteration of this run by itself."""
        tick = time.perf_counter()
        signals.check()
        state, reported = self._run.advance(self.state, signals.check)
        self.record(state, reported, tick)

    def record(self, state: TrainState, reported: Metrics, tick: float) -> None:
        """Take in what an iteration that began at ``tick`` led to; a checkpoint where one is due.

        Raises ``NonFiniteError`` after ``REFUSALS`` refused updates in a row.
        """
        now, before = time.perf_counter(), int(self.state.step)
        metrics = _metrics(state, reported, now - self._began, now - tick, before)
        self._log.append(metrics)
        self._to.update(metrics)
        self._boundary = Boundary(state, self._run.position())
        if int(state.refused[0]) >= REFUSALS:
            raise NonFiniteError(
                f"{REFUSALS} updates in a row were refused, the last because of "
                f"{reported['non_finite']}. No parameter has changed since; the run was saved at "
                f"step {int(state.step):,}. Scale the rewards and observations "
                "(--normalize-reward, --normalize-observation), lower the step size, or mend the "
                "environment."
            )
        interval = self._run.config.settings.checkpoint_interval
        if int(state.step) // interval > max(self._saver.saved_at, 0) // interval:
            self.save()

    def finish(self, compile_s: float) -> Result:
        """The last checkpoint and the summary."""
        self.save()
        wall_s = time.perf_counter() - self._began
        metrics = read_metrics(self._folder / "metrics.jsonl")
        summary = _summarize(self._folder, metrics, wall_s, compile_s)
        self._to.finish(summary)
        return Result(self._run.policy(self.state), summary, metrics, self._folder)

    def close(self) -> None:
        """Free what is held open."""
        self._to.stop()
        self._log.close()


def _summarize(folder: Path, metrics: list[Metrics], wall_s: float, compile_s: float) -> Metrics:
    """`summary.json`: the last line of metrics, and how long it all took."""
    last = metrics[-1] if metrics else {}
    summary = last | {"wall_s": wall_s, "compile_s": compile_s, "folder": str(folder)}
    write_atomically(folder / "summary.json", to_json(summary) + "\n")
    return summary


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
