"""Plots are well-formed, inside their frame, and absent where there is nothing to draw."""

import re
from xml.etree import ElementTree

import numpy as np
import pytest

from klamp.cli.line_plot import BOTTOM, HEIGHT, TOP, WIDTH, Curve, line_plot, number


def test_points_stay_inside_the_frame() -> None:
    x = np.linspace(0, 1e6, 50)
    y = np.sin(x / 1e5) * 1000
    text = line_plot("a < b & c", [Curve("one", x, y, y - 5, y + 5), Curve("<two>", x, y, y, y)])
    root = ElementTree.fromstring(text)
    assert len(root.findall("polyline")) == 2
    for numbers in re.findall(r'points="([^"]*)"', text):
        for pair in numbers.split():
            a, b = map(float, pair.split(","))
            assert 0 <= a <= WIDTH
            assert 0 <= b <= HEIGHT


@pytest.mark.parametrize("value", [2.0, 0.0, 1e17, -1e100])
def test_a_constant_curve_runs_along_the_middle(value: float) -> None:
    flat = np.full(3, value)
    text = line_plot("flat", [Curve("c", np.arange(3.0), flat, flat, flat)])
    (points,) = re.findall(r'<polyline points="([^"]*)"', text)
    middle = TOP + (HEIGHT - TOP - BOTTOM) / 2
    assert {float(pair.split(",")[1]) for pair in points.split()} == {middle}


def test_no_curve() -> None:
    none = np.zeros(0)
    assert line_plot("none", [Curve("c", none, none, none, none)]) == ""


def test_ticks_are_short() -> None:
    assert [number(v) for v in (0.0123, 250.0, 25_000.0, 3_000_000.0)] == [
        "0.0123", "250", "25k", "3M",
    ]  # fmt: skip
