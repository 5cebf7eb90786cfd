"""The reporters of a run: what an update gives them, what they may ask for, and their order.

``train(…, report=[…])`` takes reporters of the user's own (docs/callbacks.md), plain functions, and
the names of logs. This is the one place that knows their optional methods and their mistakes.
"""

import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np

from klamp.config.run import Configuration
from klamp.envs.host.serial import one_line
from klamp.errors import ConfigError, KlampWarning, ReporterFault, shown
from klamp.reporting.console import console
from klamp.reporting.logs import LOGS, log_of
from klamp.reporting.reporter import Log
from klamp.runs.metrics_log import Metrics
from klamp.types import Episode, UpdateReport

if TYPE_CHECKING:
    from klamp.evaluation.policy import TrainedPolicy

ELSEWHERE = frozenset(
    {*UpdateReport._fields, "non_finite", "action_std", "stopped", "folder"}
    | {"wall_s", "compile_s", "eval_s", "updates_refused"}
)
"""Names of klamp's own that are not in every line, besides those beginning `eval_` or `info_`."""

MOST_VALUES = 200
"""Values that callbacks may log per update."""


class UpdateEvent:
    """An update of a run: its numbers, its policy, and what a callback may ask for.

    Nothing here changes what is trained: a run with callbacks has the parameters, checkpoints and
    metrics of the run without them, except for what they logged.
    """

    def __init__(
        self,
        metrics: Metrics,
        config: Configuration,
        folder: Path,
        policy: "Callable[[], TrainedPolicy]",
        episodes: Callable[[], list[Episode]] = list,
    ) -> None:
        self.config, self.folder = config, folder
        self.stopped: str | None = None
        """Why the run is to end, where a callback asked for that."""
        self.kept = False
        """Whether a callback asked for this update's checkpoint to be kept."""
        self._metrics, self._own, self._make_policy = metrics, frozenset(metrics), policy
        self._episodes = episodes

    @property
    def metrics(self) -> Mapping[str, Any]:
        """The line of `metrics.jsonl` (docs/metrics.md), with what was logged up to now."""
        return MappingProxyType(self._metrics)

    @property
    def step(self) -> int:
        """Environment steps so far."""
        return self._metrics["step"]

    @cached_property
    def policy(self) -> "TrainedPolicy":
        """The policy after this update, made when it is first asked for."""
        return self._make_policy()

    @cached_property
    def episodes(self) -> list[Episode]:
        """The training episodes that ended in this update's rollout, in their order."""
        return self._episodes()

    def log(self, **values: float) -> None:
        """Add numbers to this update's line of `metrics.jsonl`, under their names.

        ``event.log(height=1.2)``, or ``event.log(**{"body/height": 1.2})``. Raises ``ConfigError``
        on a name that klamp's own metrics have, and on what is no number.
        """
        for name, value in values.items():
            if name in self._own | ELSEWHERE or name.startswith(("eval_", "info_")):
                raise ConfigError(
                    f"The name {shown(name)} cannot be logged: a metric of klamp's own has it, or "
                    "may have it (docs/metrics.md). Choose another, such as "
                    f"{shown(f'my/{name}')}."
                )
            number = np.asarray(value)
            if number.ndim or number.dtype.kind not in "biuf" or not 0 < len(name) <= 80:
                raise ConfigError(
                    f"The value logged as {shown(name)} is {shown(value)}. Expected one number, "
                    "under a name of 1 to 80 letters; take the mean of several first."
                )
            self._metrics[name] = number.item()
        if len(self._metrics) - len(self._own) > MOST_VALUES:
            raise ConfigError(
                f"More than {MOST_VALUES} values were logged for one update. Log their mean, or "
                "write them to a file of your own in `event.folder`."
            )

    def save(self) -> None:
        """Have a checkpoint made of this update, which is never removed."""
        self.kept = True

    def stop(self, why: str) -> None:
        """End the run after this update: it is saved, and `summary.json` has ``why``."""
        self.stopped = str(why) or "a callback asked for it"


@runtime_checkable
class Reporter(Protocol):
    """Called at each update. No other method is required.

    Where it has them, these are called, too: ``start(config, folder)`` before the first update,
    ``finish(summary)`` when the run has come to its end and is saved, and ``close()`` on every way
    out. A plain function of the event is a reporter as well.
    """

    def update(self, event: UpdateEvent, /) -> object:
        """An update was made. The return value is ignored."""
        ...


Report = Reporter | Callable[[UpdateEvent], object] | str
"""What ``report=`` takes: reporters, functions of the event, and names of logs."""


class Reporters:
    """All reporters of a run: callbacks first, then `metrics.jsonl`, then logs.

    So a callback's values are in every log. An exception in a callback is a mistake of whoever
    wrote it, and ends the run (``ReporterFault``); one in a log is most often a disk or a network,
    so it is warned of, once, and the run goes on without that log.
    """

    def __init__(self, callbacks: Sequence[Reporter] = (), logs: Sequence[Log] = ()) -> None:
        self._callbacks, self._logs = list(callbacks), list(logs)

    def add(self, callback: Reporter) -> None:
        """One more callback, told after the others."""
        self._callbacks.append(callback)

    def start(self, config: Configuration, folder: Path) -> None:
        """The run begins, or goes on."""
        self._call("start", config, folder)

    def compiling(self) -> None:
        """The run's programs are being compiled: no update comes for a while."""
        for log in list(self._logs):
            self._log(log, "compiling")

    def update(self, event: UpdateEvent, keep: Callable[[UpdateEvent], object]) -> None:
        """An update was made. ``keep`` writes its line, which is done whatever a callback does."""
        try:
            for callback in self._callbacks:
                _callback(callback, "update", event)
        finally:
            keep(event)
            for log in list(self._logs):
                self._log(log, "update", event)

    def finish(self, summary: Metrics) -> None:
        """The run has come to its end, and is saved."""
        self._call("finish", summary)

    def close(self) -> None:
        """Release files and the terminal."""
        for reporter in [*self._logs, *self._callbacks]:
            self._log(reporter, "close")

    def _call(self, method: str, *parts: object) -> None:
        for log in list(self._logs):
            self._log(log, method, *parts)
        for callback in self._callbacks:
            _callback(callback, method, *parts)

    def _log(self, log: object, method: str, *parts: object) -> None:
        """Call a log; one that fails is never called again."""
        try:
            _call(log, method, *parts)
        except Exception as error:
            self._logs = [other for other in self._logs if other is not log]
            warnings.warn(
                f"{_fault(log, method, error)} The run goes on without it; `metrics.jsonl` has "
                "every number.",
                KlampWarning,
                stacklevel=4,
            )


def gather(report: Report | Sequence[Report], *, quiet: bool) -> Reporters:
    """The reporters in ``report``, and the console unless ``quiet``.

    Raises ``ConfigError`` on what is no reporter, and where the package of a log is missing.
    """
    alone = isinstance(report, str) or not isinstance(report, Iterable)
    given: Any = [report] if alone else report
    callbacks = [_reporter(one) for one in given if not isinstance(one, str)]
    logs = [log_of(name) for name in given if isinstance(name, str)]
    return Reporters(callbacks, logs if quiet else [*logs, console()])


class _Function:
    """A plain function as a reporter."""

    def __init__(self, function: Callable[[UpdateEvent], object]) -> None:
        self.update = function


def _reporter(given: Any) -> Reporter:
    """A reporter, or a function made one."""
    if isinstance(given, Reporter) and not isinstance(given, type):
        return given
    if callable(given) and not isinstance(given, type):
        return _Function(given)
    kind = f"the class {given.__qualname__}, not an object of it" if isinstance(given, type) else ""
    raise ConfigError(
        f"`report` has {kind or shown(given)}. Expected an object with a method `update(event)`, a "
        f"function of the event, or one of the names {', '.join(LOGS)}."
    )


def _callback(callback: object, method: str, *parts: object) -> None:
    """Call a callback; its exception becomes a ``ReporterFault``."""
    try:
        _call(callback, method, *parts)
    except Exception as error:
        raise ReporterFault(_fault(callback, method, error)) from error


def _call(reporter: object, method: str, *parts: object) -> None:
    """Call one of the methods, where the reporter has it."""
    function = getattr(reporter, method, None)
    if function is not None:
        function(*parts)


def _fault(reporter: object, method: str, error: Exception) -> str:
    """Which reporter raised what."""
    inner = reporter.update if isinstance(reporter, _Function) else type(reporter)
    name = getattr(inner, "__qualname__", type(inner).__qualname__)
    return f"The reporter `{name}` raised {type(error).__name__} in `{method}`: {one_line(error)}"
