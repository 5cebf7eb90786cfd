"""Runs of equal settings but for the seed, and how groups differ."""

import json
from collections.abc import Iterable
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np

from klamp.errors import printable
from klamp.evaluation.comparison.figures import NONE
from klamp.evaluation.comparison.reading import Run
from klamp.evaluation.comparison.statistics import (
    Interval,
    chance_of_separation,
    improvement_interval,
    interquartile_mean,
    probability_of_improvement,
    stratified_interval,
)

LETTERS = 48
"""Letters that the name of a group may have."""

SIGNIFICANT = 0.05


class Group(NamedTuple):
    """The seeds of one environment and configuration."""

    env: str
    algorithm: str
    label: str
    """The algorithm, and the settings in which the group differs from others of it."""
    runs: list[Run]

    @property
    def settings(self) -> dict[str, Any]:
        """The content of `config.json` without seed and version."""
        return self.runs[0].config

    @property
    def finals(self) -> np.ndarray:
        """The last mean return of each run in which an episode has ended."""
        finals = np.array([run.final for run in self.runs])
        return finals[~np.isnan(finals)]


class Score(NamedTuple):
    """The return of a group, from its seeds."""

    iqm: float
    mean: float
    interval: Interval | None
    """Of the interquartile mean, 95 %; None of one seed."""


class Pair(NamedTuple):
    """One group beside another of its environment."""

    above: Group
    below: Group
    probability: float
    """The probability that a seed of ``above`` returns more than one of ``below``: from ½ to 1."""
    interval: Interval | None
    too_few: bool
    """Whether no result of so many seeds could tell them apart at the 5 % level."""

    @property
    def told_apart(self) -> bool:
        """Whether the seeds say that one returns more."""
        return not self.too_few and self.interval is not None and self.interval[0] > 0.5


def grouped(runs: Iterable[Run]) -> list[Group]:
    """Runs grouped by settings, seeds apart; by environment in the order of appearance."""
    found: dict[str, list[Run]] = {}
    for run in runs:
        found.setdefault(json.dumps(run.config, sort_keys=True), []).append(run)
    groups = [Group(alike[0].env, alike[0].algorithm, "", alike) for alike in found.values()]
    places = list(dict.fromkeys(group.env for group in groups))
    labelled = [
        group._replace(label=label) for group, label in zip(groups, _labels(groups), strict=True)
    ]
    return sorted(labelled, key=lambda group: places.index(group.env))


def by_environment(groups: list[Group]) -> dict[str, list[Group]]:
    """The groups of each environment."""
    found: dict[str, list[Group]] = {}
    for group in groups:
        found.setdefault(group.env, []).append(group)
    return found


def score(group: Group) -> Score | None:
    """None where no episode has ended in any run."""
    finals = group.finals
    if not len(finals):
        return None
    return Score(
        float(interquartile_mean(finals)), float(finals.mean()), stratified_interval([finals])
    )


def pairs(groups: list[Group]) -> list[Pair]:
    """Every two groups of one environment, the one that is above more often first."""
    return [
        _pair(one, other)
        for one, other in combinations([group for group in groups if len(group.finals)], 2)
    ]


def _pair(one: Group, other: Group) -> Pair:
    if probability_of_improvement([one.finals], [other.finals]) < 0.5:
        one, other = other, one
    x, y = one.finals, other.finals
    return Pair(
        one,
        other,
        probability_of_improvement([x], [y]),
        improvement_interval([x], [y]),
        too_few=chance_of_separation(len(x), len(y)) > SIGNIFICANT,
    )


def threshold_of(groups: list[Group], asked: float | None) -> float | None:
    """The return that the steps of an environment's groups are counted to, if there is one.

    It is ``asked`` where that is given, else what the median seed of every group has reached at
    some time: the lowest of these medians.
    """
    if asked is not None:
        return asked
    medians: list[float] = []
    for group in groups:
        returns = [run.columns["return_mean"] for run in group.runs]
        best = sorted(float(np.nanmax(each)) for each in returns if not np.isnan(each).all())
        # The lower of two middle seeds, since the steps are those of the slower one.
        medians += [best[(len(best) - 1) // 2]] if best else []
    return min(medians, default=None)


def steps_to(group: Group, threshold: float) -> tuple[float, int]:
    """The median over the runs of the first step at that mean return, and how many got there.

    A run that never did counts as infinitely many steps; so may the median be.
    """
    firsts: list[float] = []
    for run in group.runs:
        reached = np.flatnonzero(run.columns["return_mean"] >= threshold)
        firsts.append(float(run.columns["step"][reached[0]]) if len(reached) else np.inf)
    there = sum(np.isfinite(firsts))
    # The upper of two middle runs, so that half a way to infinity is no number of steps.
    return sorted(firsts)[len(firsts) // 2], int(there)


def differences(groups: list[Group]) -> dict[str, list[str]]:
    """The settings that two or more groups have with unequal values; a text for each group.

    A group that does not have a setting, such as one of another algorithm, has a dash there.
    """
    names = dict.fromkeys(name for group in groups for name in group.settings)
    found: dict[str, list[str]] = {}
    for name in names:
        values = [setting(group, name) for group in groups]
        if len(set(values) - {NONE}) > 1:
            found[name] = values
    return found


def setting(group: Group, name: str) -> str:
    """The value of a setting as text; a dash where the group does not have it."""
    return text_of(group.settings[name]) if name in group.settings else NONE


def text_of(value: object) -> str:
    """A value from a JSON file as text."""
    if value is None:
        return "none"
    return value if isinstance(value, str) else json.dumps(value)


def _labels(groups: list[Group]) -> list[str]:
    """A name for each group, distinct within its environment."""
    labels: list[str] = []
    for group in groups:
        alike = [g for g in groups if (g.env, g.algorithm) == (group.env, group.algorithm)]
        place = next(place for place, other in enumerate(alike) if other is group)
        apart = [
            f"{name}={values[place]}"
            for name, values in differences(alike).items()
            if name not in ("env", "algo")
        ]
        label = ", ".join([group.algorithm, *apart])
        if len(alike) > 1 and (len(label) > LETTERS or not apart):
            label = f"{group.algorithm} #{place + 1}"
        labels.append(_cell(label, LETTERS))
    return labels


def _cell(text: str, letters: int) -> str:
    """A text for a cell: printable, short, without the two spaces that separate cells."""
    return " ".join(printable(text, letters).split())
