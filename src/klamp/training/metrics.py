"""From an update's report to its line of `metrics.jsonl`."""

from typing import Any

from klamp.runs.metrics_log import Metrics
from klamp.runtime.device import on_host
from klamp.training.learning import NON_FINITE
from klamp.training.state import Progress
from klamp.trust_region.report import Outcome
from klamp.types import UpdateReport


def report_metrics(report: UpdateReport) -> Metrics:
    """An update's report as plain numbers; the outcome by its name."""
    numbers: dict[str, Any] = on_host(report._asdict())
    details = numbers.pop("details")
    flat: Metrics = {}
    for name, value in (numbers | details).items():
        flat[name] = value.item()
    flat["outcome"] = Outcome(int(flat["outcome"])).name
    first = int(flat.pop("non_finite", -1))
    return flat if first < 0 else flat | {"non_finite": NON_FINITE[first]}


def refused_metrics(what: str) -> Metrics:
    """The line of an update that was not made, because of ``what``."""
    unknown: Metrics = dict.fromkeys(UpdateReport._fields[:-1])
    return unknown | {"outcome": Outcome.NON_FINITE.name, "non_finite": what}


def counters(state: Progress) -> Metrics:
    """The counters of a state: steps, updates, and statistics of the episodes finished."""
    return {
        "step": int(state.step),
        "update": int(state.update),
        "episodes": int(state.episodes.finished),
        "return_mean": state.episodes.return_mean,
        "length_mean": state.episodes.length_mean,
    }


def update_line(
    state: Progress, reported: Metrics, time_s: float, spent: float, before: int
) -> Metrics:
    """The line of one update: counters first."""
    speed = (int(state.step) - before) / spent
    first = {"step": 0, "update": 0, "time_s": time_s, "steps_per_second": speed}
    return first | counters(state) | reported
