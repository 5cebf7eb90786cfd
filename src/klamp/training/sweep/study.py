"""The trials of a sweep in Optuna's storage: each is handed out once, and has one result.

The only module that knows Optuna. A trial is a row of the storage, whose number is also that of its
folder. A worker takes it in its ``turn`` (``presence``), and its name stands in the row before the
turn is over; so a row that is running, and whose worker is dead, was left by a kill, and the worker
that finds it goes on with it under the same number.
"""

import contextlib
import json
import warnings
from collections.abc import Generator, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from klamp.config.search_space import Choice, Interval, held
from klamp.errors import ConfigError, install_extra, one_line
from klamp.training.sweep.plan import SweepPlan, difference
from klamp.training.sweep.presence import Presence

WORKER, LOST, WHY, PLAN = "worker", "lost_workers", "why", "klamp_sweep"
"""Attributes of a trial: who runs it, who died of it, why it has no value; and of a study."""

MOST_LOST = 10
"""Workers that a trial may take with it; then it has failed (one that needs too much memory)."""

STARTUP_TRIALS, WARM_UP = 5, 2
"""No run is stopped early before so many trials have ended, and so many points were passed."""

TELLING = 10
"""Complete trials from which on it is told how much each setting mattered."""

BUSY_S = 120.0
"""Seconds that a sqlite file may be busy with other workers."""


class Trial(NamedTuple):
    """A trial as it stands in the storage."""

    number: int
    state: str
    """waiting, running, complete, pruned or failed."""
    settings: dict[str, Any]
    """What was tried."""
    value: float | None
    """Its objective; of one that was pruned, the last return that it was compared by."""
    why: str | None
    """Why it failed."""
    lost: int
    """How many workers died while they ran it."""

    @property
    def ended(self) -> bool:
        """Whether it has its result."""
        return self.state in ("complete", "pruned", "failed")


class Claimed(NamedTuple):
    """A trial that this worker is to run."""

    number: int
    settings: dict[str, Any]
    trial: Any
    """Optuna's."""


class Study:
    """The storage of one sweep, as one worker sees it."""

    def __init__(self, url: str, name: str, plan: SweepPlan, presence: Presence) -> None:
        """Open the storage, or make it. Raises ``ConfigError`` where it holds another sweep."""
        optuna: Any = _optuna()
        self._optuna, self._plan, self._presence = optuna, plan, presence
        options = {"connect_args": {"timeout": BUSY_S}} if url.startswith("sqlite") else {}
        with presence.alone(), _quietly():
            self._storage: Any = optuna.storages.RDBStorage(url, engine_kwargs=options)
            self._study: Any = optuna.create_study(
                study_name=name,
                storage=self._storage,
                direction="maximize",
                load_if_exists=True,
                pruner=optuna.pruners.MedianPruner(STARTUP_TRIALS, WARM_UP),
            )
            self._id: int = self._storage.get_study_id_from_name(name)
            self._same_plan(url)

    def _same_plan(self, url: str) -> None:
        there, here = self._study.user_attrs.get(PLAN), self._plan.to_dict()
        if there is None:
            self._study.set_user_attr(PLAN, here)
        elif (what := difference(there, here)) is not None:
            raise ConfigError(
                f"The storage {shown_url(url)} holds another sweep of that name, and nothing in it "
                f"was touched: {what}. Give the settings that it has, to go on with it, or choose "
                "another folder with `out=…`."
            )

    def trials(self) -> list[Trial]:
        """All trials, by their numbers."""
        return [_read(trial) for trial in self._study.get_trials(deepcopy=False)]

    def claim(self, total: int) -> Claimed | bool:
        """A trial to run; False where all have ended, True where others still run the last ones.

        First those that a dead worker has left, then new ones, until there are ``total``.
        """
        with self._presence.alone(), _quietly():
            found: list[Any] = self._study.get_trials(deepcopy=False)
            running = [trial for trial in found if trial.state.name == "RUNNING"]
            for trial in running:
                worker = trial.user_attrs.get(WORKER)
                # A row without a name: its worker died in its turn.
                if (worker is None or not self._presence.alive(worker)) and self._takes_over(
                    trial, worker
                ):
                    return self._given(trial.number)
            waiting = any(trial.state.name == "WAITING" for trial in found)
            if waiting or len(found) < total:
                if not found:
                    self._study.enqueue_trial(_as_optuna(self._plan.first(), self._plan.space))
                return self._given(self._study.ask().number)
            return any(
                trial.state.name == "RUNNING" for trial in self._study.get_trials(deepcopy=False)
            )

    def _takes_over(self, trial: Any, worker: str | None) -> bool:
        """Note whom a trial has lost; False where it has lost too many, and has failed by that."""
        lost = [*trial.user_attrs.get(LOST, []), *([worker] if worker else [])]
        row = self._row(trial.number)
        self._storage.set_trial_user_attr(row, LOST, lost)
        if len(lost) < MOST_LOST:
            return True
        why = f"{len(lost)} workers died while they ran it: it may need more memory than there is"
        self._storage.set_trial_user_attr(row, WHY, why)
        self._end(row, "FAIL", None)
        return False

    def _given(self, number: int) -> Claimed:
        """A running trial with this worker's name, and with its settings."""
        row = self._row(number)
        self._storage.set_trial_user_attr(row, WORKER, self._presence.worker)
        trial: Any = self._optuna.trial.Trial(self._study, row)
        settings: dict[str, Any] = {}
        for index, (name, part) in enumerate(self._plan.space.items()):
            # A function of the trials before it alone: a sweep that was killed tries the same.
            draws = np.random.SeedSequence([self._plan.seeds[0], number, index])
            self._study.sampler = self._optuna.samplers.TPESampler(
                seed=int(draws.generate_state(1)[0]), constant_liar=True
            )
            settings[name] = _suggest(trial, name, part)
        return Claimed(number, settings, trial)

    def report(self, claimed: Claimed, point: int, value: float) -> bool:
        """Note how good a run is at a point; whether it is to be ended for that."""
        with _quietly():
            row = self._row(claimed.number)
            if point not in self._storage.get_trial(row).intermediate_values:
                claimed.trial.report(value, point)
            return bool(claimed.trial.should_prune())

    def end(
        self, claimed: Claimed, state: str, value: float | None = None, why: str | None = None
    ) -> bool:
        """Give a trial its result: COMPLETE with a value, PRUNED, or FAIL with the reason.

        False, and nothing is written, where another worker has taken the trial over.
        """
        with self._presence.alone(), _quietly():
            row = self._row(claimed.number)
            there = self._storage.get_trial(row)
            if there.state.is_finished() or there.user_attrs[WORKER] != self._presence.worker:
                return False
            if why is not None:
                self._storage.set_trial_user_attr(row, WHY, why)
            self._end(row, state, value)
            return True

    def importances(self) -> dict[str, float]:
        """How much each setting mattered, as shares of 1 (PED-ANOVA, arXiv:2304.10255).

        Nothing where too few trials are complete to tell.
        """
        if sum(trial.state == "complete" for trial in self.trials()) < TELLING:
            return {}
        try:
            with _quietly():
                evaluator = self._optuna.importance.PedAnovaImportanceEvaluator()
                found = self._optuna.importance.get_param_importances(
                    self._study, evaluator=evaluator
                )
        except (ValueError, RuntimeError, ZeroDivisionError):
            return {}
        return {name: float(share) for name, share in found.items() if np.isfinite(share)}

    def _row(self, number: int) -> int:
        return self._storage.get_trial_id_from_study_id_trial_number(self._id, number)

    def _end(self, row: int, state: str, value: float | None) -> None:
        states: Any = self._optuna.trial.TrialState
        values = None if value is None else [value]
        self._storage.set_trial_state_values(row, state=states[state], values=values)


def storage_of(out: Path, storage: str | None) -> str:
    """Where the trials are kept: the URL that was given, or a file in the sweep's folder."""
    return storage or f"sqlite:///{out / 'sweep.db'}"


def shown_url(url: str) -> str:
    """A URL without the password that it may have."""
    scheme, _, rest = url.partition("://")
    account, at, place = rest.rpartition("@")
    return f"{scheme}://{account.partition(':')[0]}{at}{place}"


def _optuna() -> Any:
    try:
        optuna: Any = import_module("optuna")
    except ImportError as error:
        raise ConfigError(
            f"A sweep needs the package `optuna`, which cannot be imported ({one_line(error)}) "
            f"{install_extra('sweep')}"
        ) from error
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return optuna


def check_installed() -> None:
    """Raise ``ConfigError`` where the package `optuna` is missing."""
    _optuna()


@contextlib.contextmanager
def _quietly() -> Generator[None]:
    """What Optuna says of itself is not about the sweep."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@contextlib.contextmanager
def reachable(url: str) -> Generator[None]:
    """Turn what a database says into an error that a person can mend."""
    optuna, database = _optuna(), import_module("sqlalchemy.exc")
    try:
        yield
    # The driver of a database is imported when it is first asked.
    except (database.SQLAlchemyError, optuna.exceptions.OptunaError, ImportError) as error:
        raise ConfigError(
            f"The storage {shown_url(url)} cannot be used: {type(error).__name__}: "
            f"{one_line(error)} Check that it can be reached and written, and for PostgreSQL "
            "that its driver is there (`pip install 'psycopg[binary]'`, postgresql+psycopg://…)."
        ) from error


def _suggest(trial: Any, name: str, part: Interval | Choice) -> Any:
    if isinstance(part, Choice):
        # Optuna's choices are numbers and texts; tuples and None are among ours.
        texts = [json.dumps(value) for value in part.values]
        return held(json.loads(trial.suggest_categorical(name, texts)))
    if part.integral:
        return trial.suggest_int(name, part.low, part.high, log=part.log)
    return trial.suggest_float(name, part.low, part.high, log=part.log)


def _as_optuna(values: Mapping[str, Any], space: Mapping[str, Interval | Choice]) -> dict[str, Any]:
    """Settings as Optuna holds them."""
    return {
        name: json.dumps(value) if isinstance(space[name], Choice) else value
        for name, value in values.items()
    }


_STATES = {
    "WAITING": "waiting",
    "RUNNING": "running",
    "COMPLETE": "complete",
    "PRUNED": "pruned",
    "FAIL": "failed",
}


def _read(trial: Any) -> Trial:
    value = trial.value
    if value is None and trial.intermediate_values:
        value = trial.intermediate_values[max(trial.intermediate_values)]
    settings = {
        name: held(json.loads(value)) if isinstance(value, str) else value
        for name, value in trial.params.items()
    }
    return Trial(
        trial.number,
        _STATES[trial.state.name],
        settings,
        value,
        trial.user_attrs.get(WHY),
        len(trial.user_attrs.get(LOST, [])),
    )
