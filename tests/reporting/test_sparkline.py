"""The course of a number in one line."""

import math

from klamp.reporting.sparkline import MOST, Sparkline


def of(values: list[object]) -> Sparkline:
    course = Sparkline()
    for value in values:
        course.add(value)
    return course


def test_the_lowest_is_low_and_the_highest_high() -> None:
    assert of([1, 2, 3]).drawn(10) == "▁▅█"
    assert of([3, None, math.nan, "x", 1]).drawn(10) == "█▁"
    assert of([2, 2]).drawn(10) == "▁▁"
    assert of([]).drawn(10) == ""


def test_it_is_never_longer_than_there_is_room() -> None:
    values: list[object] = list(range(40))
    assert of(values).drawn(8) == "▁▂▃▄▅▆▇█"
    assert [len(of(values).drawn(width)) for width in (39, 3, 1, 0, -1)] == [39, 3, 1, 0, 0]


def test_a_long_run_keeps_its_whole_course() -> None:
    course = of(list(range(100 * MOST)))
    assert course.drawn(8) == "▁▂▃▄▅▆▇█"
    assert len(course._values) < MOST
