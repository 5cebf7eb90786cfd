"""Runs side by side: a table with intervals, and one self-contained HTML page with plots."""

import html
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from klamp.cli.line_plot import Curve, line_plot
from klamp.config.validation import is_integer, is_number
from klamp.errors import CheckpointError, printable, shown
from klamp.runs.atomic_write import write_atomically
from klamp.runs.bounded_read import read_object
from klamp.runs.folder import CONFIG_LIMIT
from klamp.runs.metrics_log import Metrics, metrics_of
from klamp.runs.trust import SIGNATURE

RESAMPLES = 10_000
"""Bootstrap resamples of an interval."""

LARGEST = 1e100
"""Numbers beyond it are refused: their sums and differences might not be finite."""

MOST_STEPS = 10**12
"""Steps that a run may have, as in a checkpoint's manifest."""

NONE = "–"
"""What a cell shows where there is nothing to show."""

LETTERS = {"env": 40, "algo": 16}
"""Letters that a name may have in its cell: none is broken at the end of 80 columns."""

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
    """The lines of each run, with nothing but what is shown."""
    finals: list[float | None]
    """The last mean return of each run."""


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
    return "\n".join([*lines, "", f"Plots: {printable(str(page))}"])


def _groups(folders: list[Path]) -> list[Group]:
    """Runs of equal configuration, seeds apart, in the order of first appearance."""
    found: dict[str, Group] = {}
    for folder in folders:
        try:
            config = read_object(folder / "config.json", CONFIG_LIMIT)
            env, label = (_name(config, name) for name in ("env", "algo"))
            summary = read_object(folder / "summary.json", CONFIG_LIMIT)
            final = _number(summary, "return_mean", "summary.json")
            lines = list(_lines(folder / "metrics.jsonl"))
            if not lines:
                raise ValueError("metrics.jsonl has no line")
        except (OSError, ValueError) as error:
            raise CheckpointError(
                f"{folder} cannot be compared: {error}. Expected the folder of a run that has "
                "ended, with config.json, summary.json and metrics.jsonl in it."
            ) from error
        apart = ("seed", "klamp_version", SIGNATURE)
        same = {key: value for key, value in config.items() if key not in apart}
        group = found.setdefault(json.dumps(same, sort_keys=True), Group(env, label, [], []))
        group.runs.append(lines)
        group.finals.append(final)
    return _distinct(list(found.values()))


def _name(config: Metrics, name: str) -> str:
    """A name as it may stand in a cell; ``ValueError`` where there is none."""
    if not isinstance(config.get(name), str):
        raise ValueError(f"config.json has {shown(config.get(name, 'nothing'))} as `{name}`")
    # Two spaces are what stands between two cells.
    return re.sub(" +", " ", printable(config[name], LETTERS[name]))


def _number(data: Metrics, name: str, file: str) -> float | None:
    """A number that can be added up and drawn, or None; ``ValueError`` where there is neither."""
    value = data.get(name, "nothing")
    if value is None:
        return None
    if not is_number(value) or abs(value) > LARGEST:
        raise ValueError(f"{file} has {shown(value)} as `{name}`")
    return float(value)


def _lines(path: Path) -> Iterator[Metrics]:
    """What the table and the plots take from each update; ``ValueError`` names what lacks."""
    before = 0
    for line in metrics_of(path):
        step = line.get("step", "nothing")
        if not is_integer(step, before) or step >= MOST_STEPS:
            raise ValueError(f"{path.name} has {shown(step)} as `step` after {before}")
        before = step
        speed = _number(line, "steps_per_second", path.name)
        if speed is None:
            raise ValueError(f"{path.name} has None as `steps_per_second`")
        shown_of = {name: _number(line, name, path.name) for name, _ in PLOTS}
        yield shown_of | {"step": step, "steps_per_second": speed}


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
    finals = [final for final in group.finals if final is not None]
    speeds = [line["steps_per_second"] for run in group.runs for line in run]
    kls = [line["kl"] for run in group.runs for line in run if line["kl"] is not None]
    mean, between = NONE, NONE
    if finals:
        mean = _figure(np.mean(finals), ".1f")
        between = " … ".join(_figure(end, ".1f") for end in interval(np.array(finals)))
    return (
        group.env,
        group.label,
        str(len(group.runs)),
        mean,
        between,
        _figure(np.median(speeds), ",.0f"),
        _figure(np.mean(kls), ".4f") if kls else NONE,
    )


def _figure(value: Any, form: str) -> str:
    """A number in a cell; what would be too wide for one, by its power of ten."""
    return format(float(value), form if abs(value) < 1e9 else ".3e")


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
