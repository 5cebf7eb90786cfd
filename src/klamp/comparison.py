"""Runs side by side: a table with intervals, and one self-contained HTML page with plots."""

import html
import json
from pathlib import Path
from typing import NamedTuple

import numpy as np

from klamp.checks import is_number
from klamp.errors import CheckpointError, shown
from klamp.files import write_atomically
from klamp.metrics import Metrics, read_metrics
from klamp.reading import read_object
from klamp.run_folder import CONFIG_LIMIT
from klamp.svg import Curve, line_plot

RESAMPLES = 10_000
"""Bootstrap resamples of an interval."""

PLOTS = (
    ("return_mean", "return (mean of the last 100 training episodes)"),
    ("kl", "KL(old‖new) of each update, nats"),
    ("entropy", "entropy, nats"),
    ("explained_variance", "explained variance of the critic"),
)


class Group(NamedTuple):
    """Seeds of one environment and configuration."""

    env: str
    label: str
    runs: list[list[Metrics]]
    summaries: list[Metrics]


def interval(values: np.ndarray) -> tuple[float, float]:
    """The 95 % percentile-bootstrap interval of the mean; from one value, that value."""
    generator = np.random.Generator(np.random.Philox(0))
    picks = generator.integers(0, len(values), (RESAMPLES, len(values)))
    low, high = np.percentile(values[picks].mean(axis=1), [2.5, 97.5])
    return float(low), float(high)


def compare(folders: list[Path], page: Path) -> str:
    """The table of ``folders`` as text; the plots go to ``page``."""
    groups = _groups(folders)
    rows = [_row(group) for group in groups]
    head = ("environment", "algorithm", "seeds", "return", "95 % interval", "steps/s", "mean KL")
    write_atomically(page, _page(head, rows, groups))
    widths = [max(len(row[i]) for row in (head, *rows)) for i in range(len(head))]
    lines = ["  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip()
             for row in (head, *rows)]  # fmt: skip
    return "\n".join([*lines, "", f"Plots: {page}"])


def _groups(folders: list[Path]) -> list[Group]:
    """Runs of equal configuration, seeds apart, in the order of first appearance."""
    found: dict[tuple[str, str], Group] = {}
    for folder in folders:
        try:
            config = read_object(folder / "config.json", CONFIG_LIMIT)
            summary = read_object(folder / "summary.json", CONFIG_LIMIT)
            lines = read_metrics(folder / "metrics.jsonl")
            _check(config, summary, lines)
        except (OSError, ValueError) as error:
            raise CheckpointError(
                f"{folder} cannot be compared: {error}. Expected the folder of a run that has "
                "ended, with config.json, summary.json and metrics.jsonl in it."
            ) from error
        same = {key: value for key, value in config.items() if key not in ("seed", "klamp_version")}
        key = (config["env"], json.dumps(same, sort_keys=True))
        group = found.setdefault(key, Group(config["env"], config["algo"], [], []))
        group.runs.append(lines)
        group.summaries.append(summary)
    return _distinct(list(found.values()))


def _check(config: Metrics, summary: Metrics, lines: list[Metrics]) -> None:
    """Everything that the table and the plots take from a run; ``ValueError`` names what lacks."""

    def demand(data: Metrics, name: str, fits: bool, file: str) -> None:
        if not fits:
            raise ValueError(f"{file} has {shown(data.get(name, 'nothing'))} as `{name}`")

    for name in ("env", "algo"):
        demand(config, name, isinstance(config.get(name), str), "config.json")
    for name, data in [("return_mean", summary), *((n, d) for d in lines for n, _ in PLOTS)]:
        known = name in data and (data[name] is None or is_number(data[name]))
        demand(data, name, known, "summary.json" if data is summary else "metrics.jsonl")
    for line in lines:
        for name in ("step", "steps_per_second"):
            demand(line, name, is_number(line.get(name)), "metrics.jsonl")
    if not lines:
        raise ValueError("metrics.jsonl has no line")


def _distinct(groups: list[Group]) -> list[Group]:
    """Number the labels that several configurations share."""
    labels = [(group.env, group.label) for group in groups]
    seen: dict[tuple[str, str], int] = {}
    result: list[Group] = []
    for group, label in zip(groups, labels, strict=True):
        seen[label] = seen.get(label, 0) + 1
        several = labels.count(label) > 1
        result.append(group._replace(label=f"{group.label} #{seen[label]}") if several else group)
    return result


def _row(group: Group) -> tuple[str, ...]:
    """One line of the table."""
    finals = np.array([s["return_mean"] for s in group.summaries if s["return_mean"] is not None])
    speeds = [line["steps_per_second"] for run in group.runs for line in run]
    kls = [line["kl"] for run in group.runs for line in run if line["kl"] is not None]
    low, high = interval(finals) if len(finals) else (float("nan"), float("nan"))
    mean = finals.mean() if len(finals) else float("nan")
    return (
        group.env,
        group.label,
        str(len(group.runs)),
        f"{mean:.1f}",
        f"{low:.1f} … {high:.1f}",
        f"{np.median(speeds):,.0f}",
        f"{np.mean(kls):.4f}",
    )


def _page(head: tuple[str, ...], rows: list[tuple[str, ...]], groups: list[Group]) -> str:
    """The whole page; it loads nothing."""
    cells = "".join(
        "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in rows
    )
    titles = "".join(f"<th>{html.escape(title)}</th>" for title in head)
    plots = "".join(
        f"<h2>{html.escape(env)}</h2>"
        + "".join(
            line_plot(title, [_curve(group, name) for group in groups if group.env == env])
            for name, title in PLOTS
        )
        for env in dict.fromkeys(group.env for group in groups)
    )
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>klamp compare</title>'
        "<style>body{font:15px system-ui,sans-serif;max-width:60rem;margin:2rem auto}"
        "table{border-collapse:collapse}td,th{padding:.3rem .8rem;text-align:left;"
        "border-bottom:1px solid #ddd}svg{margin:.5rem 1rem .5rem 0}</style>"
        f"<h1>klamp compare</h1><table><tr>{titles}</tr>{cells}</table>{plots}</html>\n"
    )


def _curve(group: Group, name: str) -> Curve:
    """Mean and range over the seeds, on a common grid of environment steps."""
    series = [
        ([line["step"] for line in run if line[name] is not None],
         [line[name] for line in run if line[name] is not None])
        for run in group.runs
    ]  # fmt: skip
    series = [(x, y) for x, y in series if x]
    if not series:
        return Curve(group.label, np.zeros(0), np.zeros(0), np.zeros(0), np.zeros(0))
    grid = np.linspace(max(x[0] for x, _ in series), min(x[-1] for x, _ in series), 200)
    table = np.stack([np.interp(grid, x, y) for x, y in series])
    return Curve(group.label, grid, table.mean(axis=0), table.min(axis=0), table.max(axis=0))
