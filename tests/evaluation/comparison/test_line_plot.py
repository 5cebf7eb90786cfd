"""Plots are well-formed, inside their frame, and absent where there is nothing to draw."""

import re
from xml.etree import ElementTree

import numpy as np
import pytest

from klamp.evaluation.comparison.curves import Curve
from klamp.evaluation.comparison.line_plot import (
    BOTTOM,
    HEIGHT,
    LEFT,
    RIGHT,
    TOP,
    WIDTH,
    Axes,
    colour_class,
    line_plot,
)


def curve(label: str, x: np.ndarray, y: np.ndarray, beside: float = 0.0, colour: int = 0) -> Curve:
    return Curve(label, colour, x, y, y - beside, y + beside, slice(0, len(x)), [(x, y)])


def points_of(text: str, what: str) -> list[tuple[float, float]]:
    return [
        (float(a), float(b))
        for numbers in re.findall(rf'<{what} points="([^"]*)"', text)
        for a, b in (pair.split(",") for pair in numbers.split())
    ]


def test_points_stay_inside_the_frame() -> None:
    x = np.linspace(0, 1e6, 50)
    y = np.sin(x / 1e5) * 1000
    axes = Axes("a < b & c", "environment steps", "x < y", low=-500, marks=((2000.0, "δ & co"),))
    text = line_plot(axes, [curve("one", x, y, 5), curve("<two>", x, y)])
    root = ElementTree.fromstring(text)
    assert len(root.findall("g")) == 2
    assert len(root.findall("g/polyline")) == 6
    for a, b in points_of(text, "poly[^p]*"):
        assert LEFT <= a <= WIDTH - RIGHT
        assert TOP <= b <= HEIGHT - BOTTOM
    # What is below the lowest value is drawn there.
    assert max(b for _, b in points_of(text, 'polyline class="mean"')) == HEIGHT - BOTTOM


@pytest.mark.parametrize("value", [2.0, 0.0, 1e17, -1e100])
def test_a_constant_curve_runs_along_the_middle(value: float) -> None:
    text = line_plot(Axes("flat", "x", "y"), [curve("c", np.arange(3.0), np.full(3, value))])
    middle = TOP + (HEIGHT - TOP - BOTTOM) / 2
    assert {b for _, b in points_of(text, 'polyline class="mean"')} == {middle}


def test_no_curve() -> None:
    assert line_plot(Axes("none", "x", "y"), []) == ""


def test_what_the_pointer_reads_is_what_was_drawn() -> None:
    """The page's script turns points back into values by the plot's two attributes."""
    x, y = np.array([100.0, 250.0, 400.0]), np.array([-3.0, 0.5, 7.0])
    text = line_plot(Axes("t", "x", "y"), [curve("c", x, y)])
    x0, x1, y0, y1 = map(float, re.search(r'data-reads="([^"]*)"', text)[1].split())  # type: ignore[index]
    left, right, top, bottom = map(float, re.search(r'data-frame="([^"]*)"', text)[1].split())  # type: ignore[index]
    for (a, b), at, value in zip(points_of(text, 'polyline class="mean"'), x, y, strict=True):
        assert x0 + (a - left) / (right - left) * (x1 - x0) == pytest.approx(at, abs=0.1)
        assert y0 + (bottom - b) / (bottom - top) * (y1 - y0) == pytest.approx(value, abs=0.01)


def test_every_mark_has_a_line_and_its_name() -> None:
    axes = Axes("kl", "x", "nats", low=0, marks=((0.01, "δ = 0.01"), (0.02, "δ = 0.02")))
    text = line_plot(axes, [curve("c", np.arange(2.0), np.array([0.001, 0.03]))])
    assert text.count('<line class="mark"') == 2
    assert "δ = 0.01" in text


def test_names_of_marks_do_not_lie_on_one_another() -> None:
    marks = tuple((0.01 + n * 1e-5, f"δ = {n}") for n in range(40))
    axes = Axes("kl", "x", "nats", marks=marks)
    text = line_plot(axes, [curve("c", np.arange(2.0), np.array([0.001, 0.03]))])
    places = sorted(float(y) for y in re.findall(r'<text class="mark" x="[^"]*" y="([^"]*)"', text))
    assert text.count('<line class="mark"') == 40
    assert 3 < len(places) < 40
    assert min(np.diff(places)) >= 14.9
    assert places[0] > TOP


def test_colours_are_told_apart() -> None:
    assert len({colour_class(number) for number in range(24)}) == 24
