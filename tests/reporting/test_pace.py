"""The time left: what happens once is not extrapolated; evaluations are counted apart."""

import pytest

from klamp.reporting.pace import Pace


def hear(pace: Pace, now: list[float], seconds: float, step: int, **more: float) -> None:
    now[0] += seconds
    pace.hear({"step": step, "steps_per_second": 1000.0, **more})


def test_neither_compiling_nor_the_first_updates_are_extrapolated() -> None:
    now = [0.0]
    pace = Pace(100_000, clock=lambda: now[0])
    assert pace.left is None
    hear(pace, now, 30.0, 1000)
    assert pace.left is None
    hear(pace, now, 1.0, 2000)
    assert pace.left is None
    hear(pace, now, 1.0, 3000)
    assert pace.left == pytest.approx(97.0)
    now[0] += 0.5
    assert pace.left == pytest.approx(96.5)
    assert pace.elapsed == pytest.approx(32.5)


def test_the_estimate_follows_the_speed_smoothly() -> None:
    now = [0.0]
    pace = Pace(10**6, clock=lambda: now[0])
    for step in range(1000, 61_000, 1000):
        hear(pace, now, 1.0, step)
    before = pace.left
    hear(pace, now, 3.0, 61_000)
    assert before is not None
    assert pace.left is not None
    assert before == pytest.approx(940.0)
    # One slow update of sixty moves it a little; as many again would move it all the way.
    assert 940.0 < pace.left < 1.2 * 940.0


def test_evaluations_to_come_are_in_it() -> None:
    now = [0.0]
    pace = Pace(100_000, 10_000, clock=lambda: now[0])
    for step in range(1000, 10_000, 1000):
        hear(pace, now, 1.0, step)
    assert pace.left == pytest.approx(91.0)
    hear(pace, now, 1.0 + 20.0, 10_000, eval_return_mean=3.0)
    assert pace.left == pytest.approx(90.0 + 9 * 20.0)


def test_a_run_gone_on_with_does_not_count_what_was_made_before() -> None:
    now = [0.0]
    pace = Pace(100_000, clock=lambda: now[0])
    for step in (90_000, 91_000, 92_000):
        hear(pace, now, 1.0, step)
    assert pace.left == pytest.approx(8.0)
    pace.update(94_000, skipped=2000)
    assert pace.left == pytest.approx(6.0)
