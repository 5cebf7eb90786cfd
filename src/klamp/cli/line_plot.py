"""Line plots as SVG text: what a page needs that loads nothing and a machine without matplotlib."""

import html
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

WIDTH, HEIGHT = 440, 280
LEFT, RIGHT, TOP, BOTTOM = 62, 12, 30, 36
COLOURS = ("#2563eb", "#dc2626", "#059669", "#d97706", "#7c3aed", "#0891b2", "#be185d", "#4b5563")

Transform = Callable[[np.ndarray], np.ndarray]


class Curve(NamedTuple):
    """A line with a band around it."""

    label: str
    x: np.ndarray
    y: np.ndarray
    low: np.ndarray
    high: np.ndarray


def line_plot(title: str, curves: list[Curve]) -> str:
    """One plot of all curves that hold points; nothing where none does."""
    curves = [curve for curve in curves if len(curve.x)]
    if not curves:
        return ""
    x_low, x_high = _span(np.concatenate([curve.x for curve in curves]))
    y_low, y_high = _span(np.concatenate([v for curve in curves for v in (curve.low, curve.high)]))

    def across(x: np.ndarray) -> np.ndarray:
        return LEFT + (x - x_low) / (x_high - x_low) * (WIDTH - LEFT - RIGHT)

    def up(y: np.ndarray) -> np.ndarray:
        return HEIGHT - BOTTOM - (y - y_low) / (y_high - y_low) * (HEIGHT - TOP - BOTTOM)

    parts = [
        f'<svg width="{WIDTH}" height="{HEIGHT}" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'font-family="system-ui,sans-serif" font-size="11">'
        f'<text x="{LEFT}" y="14" font-size="12">{html.escape(title)}</text>'
    ]
    for tick in np.linspace(y_low, y_high, 5):
        height = float(up(tick))
        parts.append(
            f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{height:.1f}" y2="{height:.1f}" '
            f'stroke="#e5e7eb"/><text x="{LEFT - 6}" y="{height + 4:.1f}" '
            f'text-anchor="end">{number(tick)}</text>'
        )
    for tick in np.linspace(x_low, x_high, 4):
        parts.append(
            f'<text x="{float(across(tick)):.1f}" y="{HEIGHT - BOTTOM + 16}" '
            f'text-anchor="middle">{number(tick)}</text>'
        )
    for index, curve in enumerate(curves):
        parts.append(_drawn(curve, COLOURS[index % len(COLOURS)], index, across, up))
    return "".join([*parts, "</svg>"])


def _drawn(curve: Curve, colour: str, index: int, across: Transform, up: Transform) -> str:
    """Band, line and name of one curve."""
    x = across(curve.x)
    band = _points(np.concatenate([x, x[::-1]]), up(np.concatenate([curve.high, curve.low[::-1]])))
    line = _points(x, up(curve.y))
    return (
        f'<polygon points="{band}" fill="{colour}" opacity="0.15"/>'
        f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="1.6"/>'
        f'<text x="{LEFT + 8}" y="{TOP + 12 + 13 * index}" fill="{colour}">'
        f"{html.escape(curve.label)}</text>"
    )


def _points(x: np.ndarray, y: np.ndarray) -> str:
    return " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, y, strict=True))


def _span(values: np.ndarray) -> tuple[float, float]:
    """Lowest and highest, never equal."""
    low, high = float(values.min()), float(values.max())
    # A half more makes no other number of 1e20.
    beside = max(0.5, 1e-3 * abs(low))
    return (low, high) if high > low else (low - beside, high + beside)


def number(value: float) -> str:
    """A tick's label: 100000 as `100k`."""
    size = abs(value)
    if size >= 1e6:
        return f"{value / 1e6:.3g}M"
    if size >= 1e4:
        return f"{value / 1e3:.3g}k"
    return f"{value:.3g}"
