"""The plots of one environment: metrics, axes, number of points, legend."""

from html import escape

import numpy as np

from klamp.config.validation import is_number
from klamp.evaluation.comparison.curves import Curve, curve_of, profile_of
from klamp.evaluation.comparison.groups import Group
from klamp.evaluation.comparison.line_plot import Axes, colour_class, line_plot

METRICS = {
    "return_mean": Axes("Return", "", "return, last 100 episodes"),
    "eval_return_mean": Axes("Return when evaluated", "", "return, evaluation episodes"),
    "kl": Axes("KL(old‖new) of each update", "", "KL, nats", low=0.0),
    "entropy": Axes("Entropy of the policy", "", "entropy, nats"),
    "explained_variance": Axes(
        "Explained variance of the critic", "", "explained variance", low=-1.0, high=1.0
    ),
}

PAGE_BYTES = 1_400_000
"""The most bytes for all points of a page, of two million for the page."""

POINT_BYTES = 12
FEWEST, MOST = 16, 160
"""The most points of a line."""

UNITS = ((10_800.0, 3600.0, "hours"), (180.0, 60.0, "minutes"), (0.0, 1.0, "seconds"))
"""From a duration in seconds to the unit of its axis, in seconds."""


def fineness(groups: list[Group]) -> tuple[int, bool]:
    """The points of a line that keep the page small, and whether to draw single seeds."""
    drawn = len(METRICS) * 2
    seeds = sum(len(group.runs) for group in groups) * drawn
    # Band, mean and its whole part.
    lines = max(1, len(groups) * 4 * drawn)
    budget = PAGE_BYTES / POINT_BYTES
    with_seeds = budget / (lines + seeds)
    single = with_seeds >= 2 * FEWEST
    points = with_seeds if single else budget / lines
    return int(np.clip(points, FEWEST, MOST)), single


def plots(groups: list[Group], colours: dict[str, int], points: int, single: bool) -> str:
    """All figures of one environment."""
    drawn = [_figure(name, axes, groups, colours, points, single) for name, axes in METRICS.items()]
    return f'<div class="plots">{"".join([*drawn, _profile(groups, colours)])}</div>'


def legend(curves: list[Curve]) -> str:
    """The names of the curves, each beside a piece of its line."""
    items = "".join(
        f'<li><svg viewBox="0 0 22 12" aria-hidden="true"><line class="key '
        f'{colour_class(curve.colour)}" x1="0" x2="22" y1="6" y2="6"/></svg>'
        f"<span>{escape(curve.label)}</span></li>"
        for curve in curves
    )
    return f'<ul class="legend">{items}</ul>'


def _figure(
    name: str, axes: Axes, groups: list[Group], colours: dict[str, int], points: int, single: bool
) -> str:
    """One metric along steps and along time, of which the page shows one."""
    found: dict[str, list[Curve]] = {}
    for along in ("step", "time_s"):
        curves = [
            curve_of(group, colours[group.label], name, along, points, single) for group in groups
        ]
        found[along] = [curve for curve in curves if curve is not None]
    if not found["step"]:
        return ""
    marks = _bounds(groups) if name == "kl" else ()
    longest = max(float(curve.x[-1]) for curve in found["time_s"])
    _, seconds, unit = next(entry for entry in UNITS if longest >= entry[0])
    timed = [curve.times(1 / seconds) for curve in found["time_s"]]
    steps = axes._replace(across="environment steps", marks=marks)
    time = axes._replace(across=f"wall time, {unit}", marks=marks)
    return _framed(
        axes.title,
        f'<div class="steps">{line_plot(steps, found["step"])}</div>'
        f'<div class="time">{line_plot(time, timed)}</div>',
        found["step"],
    )


def _profile(groups: list[Group], colours: dict[str, int]) -> str:
    """The performance profile: the share of seeds above each return."""
    finals = [group.finals for group in groups if len(group.finals)]
    if not finals:
        return ""
    low, high = np.min(np.concatenate(finals)), np.max(np.concatenate(finals))
    beside = 0.02 * (high - low)
    thresholds = np.linspace(low - beside, high + beside, MOST)
    curves = [profile_of(group, colours[group.label], thresholds) for group in groups]
    drawn = [curve for curve in curves if curve is not None]
    axes = Axes("Performance profile", "final return above", "share of seeds", low=0.0, high=1.0)
    return _framed(axes.title, line_plot(axes, drawn), drawn)


def _framed(title: str, drawn: str, curves: list[Curve]) -> str:
    return (
        f'<figure><h3>{escape(title)}</h3><div class="beside"><div class="drawn">{drawn}</div>'
        f"{legend(curves)}</div></figure>"
    )


def _bounds(groups: list[Group]) -> tuple[tuple[float, str], ...]:
    """Each trust region's δ that some group has."""
    given = [group.settings.get("max_kl") for group in groups]
    bounds = {float(value) for value in given if value and is_number(value)}
    return tuple((bound, f"δ = {bound:g}") for bound in sorted(bounds) if 0 < bound < 1e6)
