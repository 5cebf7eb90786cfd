"""Line plots as SVG text: readable without a script, in the colours of the page around them."""

import html
from typing import NamedTuple

import numpy as np

from klamp.evaluation.comparison.curves import Curve
from klamp.evaluation.comparison.figures import round_ticks, tick_labels

WIDTH, HEIGHT = 480, 280
LEFT, RIGHT, TOP, BOTTOM = 66, 24, 12, 46
NAME = 15
"""The height of a mark's name."""
COLOURS = 8
"""The number of colours; further curves use them again, dashed."""


class Axes(NamedTuple):
    """The axes' titles and ranges."""

    title: str
    across: str
    """Name of the horizontal axis, with its unit."""
    up: str
    """Name of the vertical axis, with its unit."""
    low: float | None = None
    """The lowest value that is drawn; lower ones are drawn at it."""
    high: float | None = None
    """The highest."""
    marks: tuple[tuple[float, str], ...] = ()
    """Heights of dashed lines across the plot, with their names."""


class _Frame(NamedTuple):
    """From data to the picture."""

    x: tuple[float, float]
    y: tuple[float, float]

    def across(self, x: np.ndarray) -> np.ndarray:
        low, high = self.x
        return LEFT + (x - low) / (high - low) * (WIDTH - LEFT - RIGHT)

    def up(self, y: np.ndarray) -> np.ndarray:
        low, high = self.y
        inside = np.clip(y, low, high)
        return HEIGHT - BOTTOM - (inside - low) / (high - low) * (HEIGHT - TOP - BOTTOM)


def line_plot(axes: Axes, curves: list[Curve]) -> str:
    """One plot of all curves; nothing where there is none."""
    if not curves:
        return ""
    frame = _Frame(_span(np.concatenate([curve.x for curve in curves])), _heights(axes, curves))
    reads = " ".join(f"{end:.9g}" for end in (*frame.x, *frame.y))
    parts = [
        f'<svg class="plot" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" data-reads="{reads}" '
        f'data-frame="{LEFT} {WIDTH - RIGHT} {TOP} {HEIGHT - BOTTOM}" '
        f'data-across="{_text(axes.across)}"><title>{_text(axes.title)}</title>',
        *_horizontal(axes, frame),
        *_vertical(axes, frame),
        *(_drawn(curve, frame) for curve in curves),
        *_marks(axes, frame),
        "</svg>",
    ]
    return "".join(parts)


def colour_class(colour: int) -> str:
    """The class that gives a curve, and its place in a legend, colour and dashes."""
    return f"c{colour % COLOURS} d{min(colour // COLOURS, 2)}"


def _heights(axes: Axes, curves: list[Curve]) -> tuple[float, float]:
    """The vertical range: all bands and marks, within the bounds that are set."""
    ends = [values for curve in curves for values in (curve.low, curve.high)]
    values = np.concatenate([*ends, np.array([height for height, _ in axes.marks])])
    low = -np.inf if axes.low is None else axes.low
    return _span(np.clip(values, low, np.inf if axes.high is None else axes.high))


def _horizontal(axes: Axes, frame: _Frame) -> list[str]:
    ticks = round_ticks(*frame.x, 5)
    places = frame.across(ticks)
    parts = [
        f'<line class="tick" x1="{x:.1f}" x2="{x:.1f}" y1="{HEIGHT - BOTTOM}" '
        f'y2="{HEIGHT - BOTTOM + 4}"/><text x="{x:.1f}" y="{HEIGHT - BOTTOM + 20}" '
        f'text-anchor="middle">{label}</text>'
        for x, label in zip(places, tick_labels(ticks), strict=True)
    ]
    middle = (LEFT + WIDTH - RIGHT) / 2
    name = _text(axes.across)
    return [*parts, f'<text class="axis" x="{middle}" y="{HEIGHT - 8}" text-anchor="middle">'
            f"{name}</text>"]  # fmt: skip


def _vertical(axes: Axes, frame: _Frame) -> list[str]:
    ticks = round_ticks(*frame.y, 5)
    parts = [
        f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
        f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{label}</text>'
        for y, label in zip(frame.up(ticks), tick_labels(ticks), strict=True)
    ]
    middle = (TOP + HEIGHT - BOTTOM) / 2
    return [*parts, f'<text class="axis" transform="translate(13 {middle}) rotate(-90)" '
            f'text-anchor="middle">{_text(axes.up)}</text>']  # fmt: skip


def _marks(axes: Axes, frame: _Frame) -> list[str]:
    """Lines across, each with its name at its right end, as far as the names have room."""
    parts: list[str] = []
    free = float(HEIGHT)
    for height, name in sorted(axes.marks):
        y = float(frame.up(np.array(height)))
        across = f'x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"'
        parts.append(f'<line class="mark" {across}/>')
        place = min(max(y - 4, TOP + NAME), free - NAME)
        if place >= TOP + NAME:
            free = place
            parts.append(
                f'<text class="mark" x="{WIDTH - RIGHT - 3}" y="{place:.1f}" '
                f'text-anchor="end">{_text(name)}</text>'
            )
    return parts


def _drawn(curve: Curve, frame: _Frame) -> str:
    """Band, seeds and line of one curve."""
    x = frame.across(curve.x)
    band = _points(
        np.concatenate([x, x[::-1]]),
        frame.up(np.concatenate([curve.high, curve.low[::-1]])),
    )
    y = frame.up(curve.y)
    seeds = "".join(
        f'<polyline class="seed" points="{_points(frame.across(a), frame.up(b))}"/>'
        for a, b in curve.seeds
    )
    whole = curve.whole
    solid = f'<polyline class="whole" points="{_points(x[whole], y[whole])}"/>'
    return (
        f'<g class="curve {colour_class(curve.colour)}" data-label="{_text(curve.label)}">'
        f'<polygon points="{band}"/>{seeds}<polyline class="mean" points="{_points(x, y)}"/>'
        f"{solid if len(x[whole]) else ''}</g>"
    )


def _points(x: np.ndarray, y: np.ndarray) -> str:
    # A number of Python's is written three times as fast as one of numpy's.
    return " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x.tolist(), y.tolist(), strict=True))


def _span(values: np.ndarray) -> tuple[float, float]:
    """Lowest and highest, never equal."""
    low, high = float(values.min()), float(values.max())
    # A half more makes no other number of 1e20.
    beside = max(0.5, 1e-3 * abs(low))
    return (low, high) if high > low else (low - beside, high + beside)


def _text(text: str) -> str:
    return html.escape(text)
