"""The comparison as tables and a few sentences, for terminal and page."""

from typing import NamedTuple

import numpy as np

from klamp.errors import printable
from klamp.evaluation.comparison.figures import NONE, between, count, duration, figure, share
from klamp.evaluation.comparison.groups import (
    Group,
    Pair,
    by_environment,
    pairs,
    score,
    steps_to,
    threshold_of,
)
from klamp.evaluation.comparison.statistics import chance_of_separation

MOST_PAIRS = 8
"""The most pairs that are described in words; the page has a table of all of them."""

FEW = 5
"""With fewer seeds than this, the reader is warned how little they show."""


class Table(NamedTuple):
    """One environment's rows, and sentences about them."""

    env: str
    head: tuple[str, ...]
    rows: list[tuple[str, ...]]
    sentences: list[str]


def tables(groups: list[Group], threshold: float | None) -> list[Table]:
    """One for each environment; ``threshold`` is the return that steps are counted to, if given."""
    return [
        _table(env, members, threshold_of(members, threshold))
        for env, members in by_environment(groups).items()
    ]


def as_text(found: list[Table], width: int) -> str:
    """All tables, in columns; the last column is left out where it does not fit into ``width``."""
    return "\n\n".join("\n".join(_lines(table, width)) for table in found)


def _table(env: str, groups: list[Group], threshold: float | None) -> Table:
    reaching = f"steps to {figure(threshold)}" if threshold is not None else "steps to –"
    head = ("algorithm", "seeds", "IQM", "95 % interval", "mean", reaching, "steps", "time",
            "mean KL")  # fmt: skip
    rows = [_row(group, threshold) for group in groups]
    name = " ".join(printable(env, 60).split()) or NONE
    return Table(name, head, rows, sentences(groups, pairs(groups)))


def _row(group: Group, threshold: float | None) -> tuple[str, ...]:
    found = score(group)
    kls = np.concatenate([run.columns["kl"] for run in group.runs])
    kls = kls[~np.isnan(kls)]
    reached = NONE
    if threshold is not None:
        steps, there = steps_to(group, threshold)
        some = f" ({there} of {len(group.runs)})" if there < len(group.runs) else ""
        reached = count(steps) + some
    return (
        group.label,
        str(len(group.runs)),
        figure(found.iqm if found else None),
        between(found.interval if found else None),
        figure(found.mean if found else None),
        reached,
        count(max(float(run.columns["step"][-1]) for run in group.runs)),
        duration(float(np.median([run.columns["time_s"][-1] for run in group.runs]))),
        figure(float(kls.mean()) if len(kls) else None, ".4f"),
    )


def sentences(groups: list[Group], compared: list[Pair]) -> list[str]:
    """What the seeds show, and what they do not."""
    apart = [pair for pair in compared if pair.told_apart]
    said = [verdict(pair) for pair in apart[:MOST_PAIRS]]
    if len(apart) > MOST_PAIRS:
        said.append(f"{len(apart) - MOST_PAIRS} more pairs are told apart.")
    said += _not_told_apart([pair for pair in compared if not pair.told_apart])
    lengths = {max(int(run.columns["step"][-1]) for run in group.runs) for group in groups}
    if lengths and max(lengths) > 1.1 * min(lengths):
        said.append(
            "The groups have made different numbers of steps: their returns are not of one budget."
        )
    few = min((len(group.finals) for group in groups if len(group.finals)), default=FEW)
    if few == 1:
        said.append("One seed has no interval: another seed may end anywhere else.")
    elif few < FEW:
        said.append(
            f"{few} seeds say little: an interval of so few holds the true value less often than "
            "95 % (of 3 seeds in about 75 % of cases, of 10 in 90 %)."
        )
    return said


def verdict(pair: Pair) -> str:
    """What the seeds say of two groups."""
    one, other = pair.above.label, pair.below.label
    if pair.told_apart and pair.probability == 1:
        n, m = len(pair.above.finals), len(pair.below.finals)
        return (
            f"{one} returns more than {other}: each of its {n} seeds more than all {m} of the "
            f"other, which chance alone does in {share(chance_of_separation(n, m))} of cases."
        )
    if pair.told_apart:
        return (
            f"{one} returns more than {other}: so it is in {share(pair.probability)} of all pairs "
            f"of seeds (95 % interval {_shares(pair)})."
        )
    if pair.too_few:
        return f"{one} and {other}: {_too_few(pair)}."
    return (
        f"{one} and {other} are not told apart: {one} returns more in {share(pair.probability)} "
        f"of all pairs of seeds (95 % interval {_shares(pair)})."
    )


def _not_told_apart(unclear: list[Pair]) -> list[str]:
    """Every pair in words, or, where they are many, how many they are."""
    if len(unclear) <= MOST_PAIRS:
        return [verdict(pair) for pair in unclear]
    return [f"{len(unclear)} pairs are not told apart by these seeds."]


def _too_few(pair: Pair) -> str:
    n, m = len(pair.above.finals), len(pair.below.finals)
    chance = chance_of_separation(n, m)
    if chance == 1:
        return "of one seed each nothing can be said"
    return (
        f"{n} and {m} seeds are too few to tell them apart, for chance alone puts all seeds of one "
        f"above the other's in {share(chance)} of cases"
    )


def _shares(pair: Pair) -> str:
    assert pair.interval is not None
    low, high = pair.interval
    return f"{share(low)} … {share(high)}"


def _lines(table: Table, width: int) -> list[str]:
    """One environment."""
    cells = [table.head, *table.rows]
    widths = [max(len(row[i]) for row in cells) for i in range(len(table.head))]
    if sum(widths) + 2 * (len(widths) - 1) > width:
        widths, cells = widths[:-1], [row[:-1] for row in cells]
    rows = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in cells
    ]
    return [table.env, "", *rows, "", *table.sentences]
