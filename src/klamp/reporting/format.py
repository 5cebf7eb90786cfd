"""The words in which a run is told."""

from collections.abc import Mapping
from typing import Any

from klamp.config.algorithms import short_name
from klamp.config.run import Configuration
from klamp.errors import printable
from klamp.runs.metrics_log import Metrics

LINE_EVERY_S = 2.0
"""Seconds between two lines where the output is not a terminal."""


MADE = ("ACCEPTED", "PROJECTED")
"""Outcomes of updates that were made; all others left θ as it was."""


def heading(config: Configuration, folder: str) -> str:
    """What is trained, and where it is kept."""
    settings = config.settings
    return printable(
        f"{config.env} · {short_name(config.algorithm).upper()} · seed {settings.seed} · "
        f"{settings.steps:,} steps · {config.batch_in_words} · {folder}"
    )


def progress_line(metrics: Mapping[str, Any], steps: int) -> str:
    """Steps, speed, return, KL, outcome, time left: one line."""
    mean, speed = metrics["return_mean"], metrics["steps_per_second"]
    left = max(steps - metrics["step"], 0) / max(speed, 1e-9)
    shown = "none yet" if mean is None else f"{mean:.1f}"
    kl = "not made" if metrics["kl"] is None else f"{metrics['kl']:.4f}"
    return (
        f"step {metrics['step']:,} · {speed:,.0f} steps/s · return {shown} · "
        f"KL {kl} · {metrics['outcome']} · {duration(left)} left"
    )


def closing(summary: Metrics) -> str:
    """What was learnt, how long it took, and what can be done next."""
    mean, folder = summary["return_mean"], printable(summary["folder"])
    learnt = "no episode ended" if mean is None else f"mean return {mean:.1f}"
    return (
        f"{_how(summary)}: {learnt} over the last {min(summary['episodes'], 100)} training "
        f"episodes, {summary['step']:,} steps in {duration(summary['wall_s'])} ({_of_it(summary)})."
        f"{_refused(summary)}\n"
        f"The run lies in {folder}; see it act: klamp eval {folder}"
    )


class Refusals:
    """Tells of refused updates when they happen: of the first of each row of them."""

    def __init__(self) -> None:
        self._outcome = MADE[0]

    def said_of(self, metrics: Mapping[str, Any]) -> str | None:
        """What there is to say of an update; None where nothing is."""
        before, self._outcome = self._outcome, metrics["outcome"]
        if self._outcome in (*MADE, before):
            return None
        why = metrics.get("non_finite")
        what = self._outcome if why is None else f"{self._outcome}, {why}"
        return printable(f"update {metrics['update']:,} was refused ({what}); θ is as it was")


def mostly_refused(summary: Metrics) -> str | None:
    """What is wrong with a run of whose updates more than half were refused; None of any other."""
    refused, folder = summary.get("updates_refused", 0), printable(summary["folder"])
    if 2 * refused <= summary.get("update", 0):
        return None
    return (
        f"{refused:,} of the {summary['update']:,} updates of {folder} were refused, and taught "
        f"the policy nothing. `klamp explain {folder}` says why, and what to try."
    )


def _how(summary: Metrics) -> str:
    """In which way a run ended."""
    if "stopped" in summary:
        return f"Stopped ({printable(summary['stopped'])})"
    return "Done" if mostly_refused(summary) is None else "Most updates were refused"


def _refused(summary: Metrics) -> str:
    """How many updates were refused, and where the reason is found; nothing where none was."""
    refused = summary.get("updates_refused", 0)
    if not refused:
        return ""
    why = f"why: klamp explain {printable(summary['folder'])}"
    return f"\n{refused:,} of {summary['update']:,} updates were refused; {why}"


def _of_it(summary: Metrics) -> str:
    """What of the time was not training."""
    compiling, evaluating = summary["compile_s"], summary.get("eval_s", 0.0)
    more = f", {evaluating:.1f} s evaluating" if evaluating else ""
    return f"{compiling:.1f} s of it compiling{more}"


def duration(seconds: float) -> str:
    """65 s as `1 min 5 s`; rounded once, to what is shown, and only then divided into units."""
    tenths, whole, minutes = round(seconds * 10), round(seconds), round(seconds / 60)
    if tenths < 100:
        return f"{tenths / 10:.1f} s"
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{minutes // 60} h {minutes % 60} min"
