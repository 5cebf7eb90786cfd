"""Words and numbers in which runs are reported."""

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from klamp.config.algorithms import short_name
from klamp.config.run import Configuration
from klamp.config.validation import is_number
from klamp.errors import printable
from klamp.runs.metrics_log import Metrics

LINE_EVERY_S = 2.0
"""Seconds between two lines where the output is not a terminal."""


MADE = ("ACCEPTED", "PROJECTED")
"""Outcomes of updates that were made; all others left θ as it was."""


def heading(config: Configuration, folder: str) -> str:
    """What is trained, and its folder."""
    settings = config.settings
    return printable(
        f"{config.env} · {short_name(config.algorithm).upper()} · seed {settings.seed} · "
        f"{settings.steps:,} steps · {config.batch_in_words} · {folder}"
    )


def progress_line(metrics: Mapping[str, Any], left: float | None) -> str:
    """Steps, speed, return, KL, outcome, time left: one line."""
    mean = metrics["return_mean"]
    parts = [
        f"step {metrics['step']:,}",
        f"{metrics['steps_per_second']:,.0f} steps/s",
        "no episode has ended" if mean is None else f"return {number(mean)}",
        "KL not made" if metrics["kl"] is None else f"KL {metrics['kl']:.4f}",
        metrics["outcome"],
    ]
    if (evaluated := metrics.get("eval_return_mean")) is not None:
        parts.append(f"evaluation {number(evaluated)}")
    if left is not None:
        parts.append(f"{duration(left)} left")
    return printable(" · ".join(parts))


def closing(summary: Metrics) -> list[tuple[str, str]]:
    """What was learnt and how long it took, as names with values."""
    mean, episodes = summary["return_mean"], min(summary["episodes"], 100)
    learnt = "no training episode ended"
    if mean is not None:
        learnt = f"{number(mean)}, the mean of the last {episodes} training episodes"
    rows = [("return", learnt)]
    if "stopped" in summary:
        rows.insert(0, ("because", printable(summary["stopped"])))
    if (evaluated := summary.get("eval_return_mean")) is not None:
        spread = summary.get("eval_return_std") or 0.0
        rows.append(("evaluation", f"{number(evaluated)} ± {number(spread)}, the last one"))
    spent = f"{duration(summary['wall_s'])} ({_of_it(summary)})"
    rows.append(("steps", f"{summary['step']:,} in {spent}"))
    if refused := summary.get("updates_refused", 0):
        rows.append(("refused", f"{refused:,} of {summary['update']:,} updates"))
    return rows


def next_steps(folder: str, *, refused: bool = False) -> list[tuple[str, str]]:
    """What to do next with a run, or with a folder of them, and the command that does it."""
    name = shlex.quote(printable(folder))
    steps = [
        ("see it act", f"klamp eval {name}"),
        ("what happened", f"klamp explain {name}"),
        ("beside others", f"klamp compare {name} OTHER …"),
    ]
    return [steps[1], steps[0], steps[2]] if refused else steps


def together(out: object, folders: Sequence[str]) -> list[tuple[str, str]]:
    """What to do next with the runs of many seeds, which lie in ``out``, where that is given."""
    names = [str(out)] if out is not None else folders
    named = " ".join(shlex.quote(printable(name)) for name in names)
    first = shlex.quote(printable(folders[0]))
    return [
        ("side by side", f"klamp compare {named}"),
        ("see one act", f"klamp eval {first}"),
        ("what happened", f"klamp explain {first}"),
    ]


def number(value: float | None) -> str:
    """A number of a run in at most nine letters; – where there is none."""
    if not is_number(value):
        return "–"
    assert value is not None
    return f"{value:,.1f}" if 1 <= abs(value) < 100_000 else f"{value:.3g}"


class Refusals:
    """Reports the first refused update of each row of them."""

    def __init__(self) -> None:
        self._outcome = MADE[0]

    def said_of(self, metrics: Mapping[str, Any]) -> str | None:
        """The message about an update; None where there is none."""
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


def ending(summary: Metrics) -> str:
    """How a run ended, in words."""
    if "stopped" in summary:
        return "Stopped"
    return "Done" if mostly_refused(summary) is None else "Most updates were refused"


def _of_it(summary: Metrics) -> str:
    """The part of the time that was not training."""
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
