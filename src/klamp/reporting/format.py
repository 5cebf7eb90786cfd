"""The words in which a run is told."""

from collections.abc import Mapping
from typing import Any

from klamp.config.algorithms import short_name
from klamp.config.run import RunConfig
from klamp.errors import printable
from klamp.runs.metrics_log import Metrics

LINE_EVERY_S = 2.0
"""Seconds between two lines where the output is not a terminal."""


def heading(config: RunConfig, folder: str) -> str:
    """What is trained, and where it is kept."""
    settings = config.settings
    return printable(
        f"{config.env} · {short_name(config.algorithm).upper()} · seed {settings.seed} · "
        f"{settings.steps:,} steps · {settings.num_envs} environments × "
        f"{settings.rollout_length} steps · {folder}"
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
    how = f"Stopped ({printable(summary['stopped'])})" if "stopped" in summary else "Done"
    return (
        f"{how}: {learnt} over the last {min(summary['episodes'], 100)} training episodes, "
        f"{summary['step']:,} steps in {duration(summary['wall_s'])} ({_of_it(summary)}).\n"
        f"The run lies in {folder}; see it act: klamp eval {folder}"
    )


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
