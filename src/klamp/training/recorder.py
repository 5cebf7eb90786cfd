"""A run under way: where it stands, what it has written, and whom it tells."""

import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from klamp.errors import KlampWarning, NonFiniteError, NotSaved, Stopped
from klamp.evaluation.policy import TrainedPolicy
from klamp.reporting.format import MADE
from klamp.reporting.reporter import Reporter
from klamp.runs.atomic_write import write_atomically
from klamp.runs.folder import metrics_until
from klamp.runs.manifest import NOTHING_SPENT, Spent
from klamp.runs.metrics_log import Metrics, MetricsLog, to_json
from klamp.runtime.signals import Signals, stop_line
from klamp.training.checkpointing import Saver
from klamp.training.iteration import Boundary, Iteration
from klamp.training.state import TrainState

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
    unsaved: str | None = None
    """Why the end of the run is not in its folder, and what is; None where all of it is."""


class Origin(NamedTuple):
    """The checkpoint that a run goes on from."""

    step: int
    spent: Spent
    begin: Callable[[], object]
    """Makes the folder end at the checkpoint; called before the first write."""


class Running:
    """Keeps metrics, checkpoints and the summary of a run while it iterates."""

    def __init__(
        self,
        run: Iteration,
        state: TrainState,
        folder: Path,
        to: Reporter,
        origin: Origin | None = None,
    ) -> None:
        """``origin``: the checkpoint that the run goes on from; None at its start."""
        self._run, self._folder, self._to = run, folder, to
        self._began = time.perf_counter()
        self._before = origin.spent if origin else NOTHING_SPENT
        self._compile_s = 0.0
        self._explained = False
        path = folder / "metrics.jsonl"
        self._log = MetricsLog(path, origin.begin) if origin else MetricsLog(path)
        self._saver = Saver(run.config, folder, self._log, origin.step if origin else None)
        self._boundary = Boundary(state, run.position())
        if origin is None:
            try:
                self._saver.save(self._boundary, self.spent)
            except NotSaved:
                self._log.close()
                raise

    @property
    def state(self) -> TrainState:
        """The state after the last iteration."""
        return self._boundary.state

    @property
    def done(self) -> bool:
        """Whether all steps are made."""
        return int(self.state.step) >= self._run.config.settings.steps

    @property
    def spent(self) -> Spent:
        """What the run took, with what it took before it was stopped."""
        wall_s = time.perf_counter() - self._began
        return Spent(self._before.wall_s + wall_s, self._before.compile_s + self._compile_s)

    def compiled(self, seconds: float) -> None:
        """Count the time that compiling took."""
        self._compile_s += seconds

    def stop(self, number: int) -> Stopped:
        """Save because of a signal; what the run ends with, which says whether that worked."""
        saved = self._saver.attempt(self._boundary, self.spent)
        return Stopped(number, stop_line(number, self._outcome(), self._folder), saved)

    def iterate(self, signals: Signals) -> None:
        """One iteration of this run by itself."""
        tick = time.perf_counter()
        signals.check()
        state, reported = self._run.advance(self.state, signals.check)
        self.record(state, reported, tick)

    def record(self, state: TrainState, reported: Metrics, tick: float) -> None:
        """Take in what an iteration that began at ``tick`` led to; a checkpoint where one is due.

        Raises ``NonFiniteError`` after ``REFUSALS`` refused updates in a row, ``NotSaved`` where
        the disk takes no checkpoint.
        """
        seconds, before = time.perf_counter() - tick, int(self.state.step)
        metrics = _metrics(state, reported, self.spent.wall_s, seconds, before)
        # In this order: what is saved from another thread in between has all of its lines.
        self._explain(metrics)
        self._log.append(metrics)
        self._boundary = Boundary(state, self._run.position())
        self._to.update(metrics)
        if int(state.refused[0]) >= REFUSALS:
            self._saver.attempt(self._boundary, self.spent)
            raise NonFiniteError(
                f"{REFUSALS} updates in a row were refused, the last because of "
                f"{reported['non_finite']}. No parameter has changed since ({self._outcome()}). "
                "Scale the rewards and observations (--normalize-reward, --normalize-observation), "
                "lower the step size, or mend the environment."
            )
        interval = self._run.config.settings.checkpoint_interval
        due = int(state.step) // interval > self._saver.tried_at // interval
        if due and not self.done:
            self._saver.save(self._boundary, self.spent)

    def finish(self) -> Result:
        """The last checkpoint and the summary; the result says where the disk did not take them."""
        saved = self._saver.attempt(self._boundary, self.spent)
        result = self.result()
        if not saved:
            return replace(result, unsaved=self._unsaved("checkpoint", self._saver.trouble))
        try:
            write_atomically(self._folder / "summary.json", to_json(result.summary) + "\n")
        except OSError as error:
            return replace(result, unsaved=self._unsaved("summary.json", error.strerror))
        self._to.finish(result.summary)
        return result

    def result(self) -> Result:
        """What was trained up to here."""
        waiting = self._log.waiting
        written = int(self.state.update) - len(waiting)
        metrics = metrics_until(self._folder / "metrics.jsonl", written) + waiting
        summary = _counters(self.state) | self.spent._asdict() | {"folder": str(self._folder)}
        summary["updates_refused"] = sum(line.get("outcome") not in MADE for line in metrics)
        if metrics and metrics[-1]["update"] == int(self.state.update):
            # Where lines were lost, the last one is not of this policy.
            summary = metrics[-1] | summary
        return Result(self._run.policy(self.state), summary, metrics, self._folder)

    def close(self) -> None:
        """Free what is held open."""
        self._to.stop()
        self._log.close()

    def _explain(self, metrics: Metrics) -> None:
        """Warn, once, of a trust region smaller than the numbers can resolve."""
        bound = getattr(self._run.config.algorithm, "max_kl", None)
        if bound is None or self._explained or (metrics.get("kl_resolution") or 0) <= bound:
            return
        self._explained = True
        warnings.warn(
            f"`max_kl` is {bound:g} nats, but at update {metrics['update']:,} float32 tells the "
            f"policies of this run apart from {metrics['kl_resolution']:.2g} nats on: their means "
            "are too large beside their standard deviations. Such updates are refused. Give a "
            "larger `--max-kl`, scale the actions to about 1, or begin with larger deviations "
            "(--initial-log-std).",
            KlampWarning,
            stacklevel=2,
        )

    def _outcome(self) -> str:
        """What became of the last attempt to save."""
        step = f"{int(self.state.step):,}"
        if self._saver.trouble is None:
            return f"saved at step {step}"
        return f"step {step} could NOT be saved ({self._saver.trouble}); {self._saver.last}"

    def _unsaved(self, what: str, why: str | None) -> str:
        return (
            f"The run has come to its end at step {int(self.state.step):,}, but its {what} could "
            f"not be written to {self._folder} ({why}). Of the checkpoints there, "
            f"{self._saver.last}. Free some space, then go on with `klamp resume {self._folder}`."
        )


def _counters(state: TrainState) -> Metrics:
    """What the state itself tells."""
    return {
        "step": int(state.step),
        "update": int(state.update),
        "episodes": int(state.episodes.finished),
        "return_mean": state.episodes.return_mean,
        "length_mean": state.episodes.length_mean,
    }


def _metrics(
    state: TrainState, reported: Metrics, time_s: float, spent: float, before: int
) -> Metrics:
    """The line of one update: counters first."""
    speed = (int(state.step) - before) / spent
    first = {"step": 0, "update": 0, "time_s": time_s, "steps_per_second": speed}
    return first | _counters(state) | reported
