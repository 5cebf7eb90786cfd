"""A run while it trains: its state, its files and its reporters."""

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Generic, NamedTuple, cast

from klamp.collection.host import never
from klamp.config.run import KeptSettings
from klamp.errors import NotSaved, ReporterFault, Stopped, resume_call
from klamp.runs.atomic_write import write_atomically
from klamp.runs.checkpoint_choice import best_score
from klamp.runs.manifest import NOTHING_SPENT, Spent
from klamp.runs.metrics_log import Metrics, MetricsLog, metrics_until, to_json
from klamp.runtime.signals import Signals, stop_line
from klamp.training.callbacks import Reporters, UpdateEvent
from klamp.training.checkpointing import Saver, Standing, stays
from klamp.training.early_stop import EarlyStop
from klamp.training.interface import Evaluation, Run
from klamp.training.metrics import update_line
from klamp.training.refusals import UnresolvedBound, refusals_error, refused_too_often
from klamp.training.result import Result, result_of
from klamp.training.state import Boundary, Progress, State


class Origin(NamedTuple):
    """The checkpoint that a run goes on from."""

    step: int
    spent: Spent
    begin: Callable[[], object]
    """Makes the folder end at the checkpoint; called before the first write."""


class RunRecorder(Generic[State]):
    """Keeps metrics, checkpoints and the summary of a run while it iterates."""

    def __init__(
        self,
        run: Run,
        state: State,
        folder: Path,
        reporters: Reporters,
        evaluation: Evaluation,
        origin: Origin | None = None,
    ) -> None:
        """``origin``: the checkpoint that the run goes on from; None at its start."""
        self._run, self._folder, self._reporters = run, folder, reporters
        self._evaluation = evaluation
        self._stopped: str | None = None
        self._began = time.perf_counter()
        self._before = origin.spent if origin else NOTHING_SPENT
        self._compile_s = 0.0
        self._unresolved_bound = UnresolvedBound(run.config)
        path = folder / "metrics.jsonl"
        self._log = MetricsLog(path, origin.begin) if origin else MetricsLog(path)
        self._saver = Saver(run.config, folder, self._log, origin.step if origin else None)
        self._standing = self._at(state)
        # Checkpoints after the one that the run is resumed from do not count.
        self._best = best_score(folder, origin.step) if origin else None
        self._early_stop = EarlyStop(run.config.settings)
        if origin and self._early_stop.needs_the_past:
            for line in metrics_until(path, int(state.update)):
                self._early_stop.hear(line)
        if origin is None:
            try:
                self._saver.save(self._standing, self.spent)
            except NotSaved:
                self._log.close()
                raise

    @property
    def state(self) -> State:
        """The state after the last iteration."""
        return cast(State, self._standing.boundary.state)

    @property
    def done(self) -> bool:
        """Whether all steps are made, or the run was told to stop before."""
        return self._stopped is not None or int(self.state.step) >= self._settings.steps

    @property
    def spent(self) -> Spent:
        """The time that the run took, with the time before it was resumed."""
        wall_s = time.perf_counter() - self._began
        before = self._before
        return Spent(
            before.wall_s + wall_s,
            before.compile_s + self._compile_s,
            before.eval_s + self._evaluation.took_s,
        )

    @property
    def _settings(self) -> KeptSettings:
        return self._run.config.settings

    def begin(self) -> None:
        """Report that the run starts, or is resumed."""
        self._reporters.start(self._run.config, self._folder)

    def compile(self) -> None:
        """Compile what an iteration calls, if there is one to be made."""
        if not self.done:
            self._reporters.compiling()
            self.compiled(self._run.compile(self.state))

    def compiled(self, seconds: float) -> None:
        """Count the time that compiling took."""
        self._compile_s += seconds

    def stop(self, number: int) -> Stopped:
        """Save because of a signal; the exception that ends the run says whether that worked."""
        saved = self._saver.attempt(self._standing, self.spent)
        return Stopped(number, stop_line(number, self._outcome(), self._folder), saved)

    def iterate(self, signals: Signals) -> None:
        """One iteration of this run by itself."""
        tick = time.perf_counter()
        signals.check()
        state, reported = self._run.advance(self.state, signals.check)
        self.record(state, reported, time.perf_counter() - tick, signals.check)

    def record(
        self,
        state: Progress,
        reported: Metrics,
        seconds: float,
        check: Callable[[], None] = never,
    ) -> None:
        """Record the result of an iteration that took ``seconds``: report it, and save where due.

        ``check`` is called wherever this can be interrupted, and may raise. Raises
        ``NonFiniteError`` after ``refusals.REFUSALS`` refused updates in a row, ``NotSaved`` where
        the disk takes no checkpoint, ``ReporterFault`` where a callback fails.
        """
        before = int(self.state.step)
        metrics = update_line(state, reported, self.spent.wall_s, seconds, before)
        self._unresolved_bound.hear(metrics)
        if self._evaluation.due(before, int(state.step)):
            policy = self._run.policy(state)
            metrics |= self._evaluation(policy, check)
            self._evaluation.film(policy, self._folder, before, int(state.step))
        config, episodes = self._run.config, self._run.episodes
        event = UpdateEvent(
            metrics, config, self._folder, lambda: self._run.policy(state), episodes
        )
        self._reporters.update(event, lambda event: self._keep(event, state))
        self._stopped = event.stopped or self._early_stop.hear(metrics)
        self._refuse_to_go_on(state, reported)
        self._save_where_due(event)

    def _keep(self, event: UpdateEvent, state: Progress) -> None:
        """Write an update's line, and make its state the one that is saved.

        In this order, so that a checkpoint saved from another thread in between has all of its
        lines.
        """
        self._log.append(dict(event.metrics))
        self._standing = self._at(state, event)

    def _at(self, state: Progress, event: UpdateEvent | None = None) -> Standing:
        """Where the run stands with a state, as it is saved."""
        score = state.episodes.return_mean
        if self._settings.eval_interval is not None:
            score = None if event is None else event.metrics.get("eval_return_mean")
        asked = event is not None and event.kept
        kept = asked or stays(self._settings, int(state.step))
        return Standing(Boundary(state, self._run.position()), score, kept)

    def _save_where_due(self, event: UpdateEvent) -> None:
        """A checkpoint at each interval, of the best policy evaluated, and where asked for."""
        score, due = event.metrics.get("eval_return_mean"), self._saver.due(event.step)
        best = score is not None and (self._best is None or score > self._best)
        self._best = score if best else self._best
        if self.done or not (due or best or event.kept):
            return
        # A checkpoint that the interval did not ask for is not kept because of its step.
        standing = self._standing if due else self._standing._replace(kept=event.kept)
        self._saver.save(standing, self.spent)

    def _refuse_to_go_on(self, state: Progress, reported: Metrics) -> None:
        """Raise where too many updates in a row were refused."""
        if refused_too_often(state):
            self._saver.attempt(self._standing, self.spent)
            raise refusals_error(reported, self._outcome())

    def failed(self, fault: ReporterFault) -> ReporterFault:
        """Save because of a callback's exception; returns the exception that ends the run."""
        self._saver.attempt(self._standing, self.spent)
        again = f"Mend the callback, then go on with `{resume_call(self._folder)}`."
        full = ReporterFault(f"{fault} The run has stopped ({self._outcome()}). {again}")
        full.result = self.result()
        return full

    def finish(self) -> Result:
        """The last checkpoint and the summary; the result says where the disk did not take them."""
        saved = self._saver.attempt(self._standing, self.spent)
        result = self.result()
        last = self._evaluation.at_the_end(result.policy)
        result = replace(result, summary=result.summary | last)
        if not saved:
            return replace(result, unsaved=self._unsaved("checkpoint", self._saver.trouble))
        try:
            write_atomically(self._folder / "summary.json", to_json(result.summary) + "\n")
        except OSError as error:
            return replace(result, unsaved=self._unsaved("summary.json", error.strerror))
        self._reporters.finish(result.summary)
        return result

    def result(self) -> Result:
        """The result of the run so far."""
        return result_of(
            self._run, self.state, self._folder, self.spent, self._log.waiting, self._stopped
        )

    def close(self) -> None:
        """Close reporters, evaluation and files."""
        self._reporters.close()
        self._evaluation.close()
        self._log.close()

    def _outcome(self) -> str:
        """The result of the last attempt to save, in words."""
        step = f"{int(self.state.step):,}"
        if self._saver.trouble is None:
            return f"saved at step {step}"
        return f"step {step} could NOT be saved ({self._saver.trouble}); {self._saver.last}"

    def _unsaved(self, what: str, why: str | None) -> str:
        return (
            f"The run has come to its end at step {int(self.state.step):,}, but its {what} could "
            f"not be written to {self._folder} ({why}). Of the checkpoints there, "
            f"{self._saver.last}. Free some space, then go on with "
            f"`{resume_call(self._folder)}`."
        )
