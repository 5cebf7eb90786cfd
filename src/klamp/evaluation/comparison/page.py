"""The comparison as one page: it loads nothing, runs nothing but its own script, needs none."""

import base64
import hashlib
from collections.abc import Iterable
from datetime import datetime
from html import escape
from importlib.resources import files
from typing import NamedTuple

from klamp.errors import printable
from klamp.evaluation.comparison.figures import NONE, between, figure, share
from klamp.evaluation.comparison.groups import (
    Group,
    Pair,
    by_environment,
    differences,
    pairs,
    setting,
    text_of,
)
from klamp.evaluation.comparison.plots import fineness, plots
from klamp.evaluation.comparison.reading import Run, unfinished
from klamp.evaluation.comparison.table import Table, tables

VALUE_LETTERS = 200
"""Letters that the value of a setting may have."""

SETTINGS = 400
"""Settings that are listed of a group: three times what a run has."""


class About(NamedTuple):
    """What the page says of itself."""

    title: str
    command: str
    when: str
    version: str
    """Of the klamp that wrote the page."""
    live: bool = False
    """Whether it asks a board for what is new."""


def page(about: About, main: str) -> str:
    """The whole page around its main part."""
    state = '<p class="small" id="state" role="status"></p>'
    explained = f"<h2>How to read this</h2>{_file('explained.html')}"
    return document(about, f"{state}{_CHOICES}<main>{main}</main>{explained}")


def document(about: About, content: str) -> str:
    """A page of klamp's: its title, what it was made by, and whatever it shows."""
    style, script = (_file(name) for name in ("page.css", "page.js"))
    live = ' data-live="yes"' if about.live else ""
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"/>'
        f'<meta http-equiv="Content-Security-Policy" content="{policy(about.live)}"/>'
        '<meta name="viewport" content="width=device-width, initial-scale=1"/>'
        f'<link rel="icon" href="data:,"/><title>{escape(about.title)}</title>'
        f"<style>{style}</style><script>{script}</script></head>"
        f"<body{live}><h1>{escape(about.title)}</h1>"
        f'<p class="small"><code>{escape(about.command)}</code> · {escape(about.when)} · klamp '
        f"{escape(about.version)}</p>"
        f"{content}"
        '<div id="values" hidden="hidden"></div></body></html>\n'
    )


_CHOICES = (
    '<input class="choice" type="radio" name="along" id="by-steps" checked="checked"/>'
    '<label for="by-steps">by steps</label>'
    '<input class="choice" type="radio" name="along" id="by-time"/>'
    '<label for="by-time">by wall time</label>'
    '<input class="choice" type="checkbox" id="single"/><label for="single">single seeds</label>'
)


def policy(live: bool) -> str:
    """What a browser may do for the page: its own style and script, by their sums, and no more."""
    style, script = (_sum(_file(name)) for name in ("page.css", "page.js"))
    asks = "; connect-src 'self'" if live else ""
    return (
        f"default-src 'none'; style-src '{style}'; script-src '{script}'; img-src data:{asks}; "
        "base-uri 'none'; form-action 'none'"
    )


def main_part(groups: list[Group], notes: Iterable[str], threshold: float | None) -> str:
    """All that depends on the runs."""
    colours = {label: n for n, label in enumerate(dict.fromkeys(g.label for g in groups))}
    points, single = fineness(groups)
    said = [*notes, *unfinished([run for group in groups for run in group.runs])]
    if not single:
        said.append("Single seeds are not drawn: there are too many for one page.")
    noted = "".join(f'<p class="note">{_shown(note)}</p>' for note in said)
    environments = by_environment(groups).values()
    sections = [
        _section(number, members, table, plots(members, colours, points, single))
        for number, (members, table) in enumerate(
            zip(environments, tables(groups, threshold), strict=True)
        )
    ]
    return noted + "".join(sections)


def _section(number: int, groups: list[Group], table: Table, drawn: str) -> str:
    """One environment."""
    said = "".join(f"<p>{_shown(sentence)}</p>" for sentence in table.sentences)
    return (
        f"<section><h2>{_shown(table.env)}</h2>{html_table(table.head, table.rows)}{said}"
        f"{_pairs(number, pairs(groups))}{_differences(groups)}{drawn}"
        f"{_settings(number, groups)}{_runs(number, groups)}</section>"
    )


def html_table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    """A table; each cell knows its title, for screens on which a row is a card."""
    titles = "".join(f"<th>{_shown(title)}</th>" for title in head)
    cells = "".join(
        "<tr>"
        + "".join(
            f'<td data-of="{_shown(title)}">{_shown(cell)}</td>'
            for title, cell in zip(head, row, strict=True)
        )
        + "</tr>"
        for row in rows
    )
    return f'<div class="wide"><table><tr>{titles}</tr>{cells}</table></div>'


def _folded(name: str, number: int, title: str, content: str) -> str:
    return f'<details id="{name}-{number}"><summary>{escape(title)}</summary>{content}</details>'


def _pairs(number: int, compared: list[Pair]) -> str:
    """Every pair's probability of improvement."""
    if not compared:
        return ""
    head = ("more often above", "below", "P(above > below)", "95 % interval", "told apart")
    rows = [
        (
            pair.above.label,
            pair.below.label,
            share(pair.probability),
            NONE if pair.interval is None else between(
                (100 * pair.interval[0], 100 * pair.interval[1]), ".0f") + " %",
            "yes" if pair.told_apart else "too few seeds" if pair.too_few else "no",
        )
        for pair in compared
    ]  # fmt: skip
    return _folded("pairs", number, "Each two side by side", html_table(head, rows))


def _differences(groups: list[Group]) -> str:
    """The settings in which the groups of an environment differ, where they have them at all."""
    found = {name: values for name, values in differences(groups).items() if name != "algo"}
    if not found:
        return ""
    head = ("setting", *(group.label for group in groups))
    rows = [(name, *values) for name, values in list(found.items())[:SETTINGS]]
    return f"<h3>What differs</h3>{html_table(head, rows)}"


def _settings(number: int, groups: list[Group]) -> str:
    """All settings of all groups."""
    names = list(dict.fromkeys(name for group in groups for name in group.settings))[:SETTINGS]
    rows = [(name, *(setting(group, name) for group in groups)) for name in names]
    head = ("setting", *(group.label for group in groups))
    return _folded("settings", number, "All settings", html_table(head, rows))


def _runs(number: int, groups: list[Group]) -> str:
    """Every run: where it lies, its seed, its version, how far it is."""
    head = ("folder", "algorithm", "seed", "steps", "return", "klamp", "last update", "ended")
    rows = [_run(group, run) for group in groups for run in group.runs]
    return _folded("runs", number, f"The {len(rows)} runs", html_table(head, rows))


def _run(group: Group, run: Run) -> tuple[str, ...]:
    return (
        str(run.folder),
        group.label,
        text_of(run.seed),
        f"{run.columns['step'][-1]:,.0f}",
        figure(run.final),
        run.version,
        datetime.fromtimestamp(run.written).astimezone().strftime("%d %b %Y, %H:%M:%S"),
        "yes" if run.ended else "no",
    )


def _shown(text: str) -> str:
    """A text of whatever origin as a part of the page."""
    return escape(printable(text, VALUE_LETTERS * 2))


def _file(name: str) -> str:
    return (files("klamp.evaluation.comparison") / name).read_text(encoding="utf-8")


def _sum(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
