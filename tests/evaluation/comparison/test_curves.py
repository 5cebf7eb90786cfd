"""Mean, band and single lines of a group."""

from pathlib import Path

import numpy as np
from run_folders import learning, line, run

from klamp.evaluation.comparison.curves import curve_of, profile_of
from klamp.evaluation.comparison.groups import Group, grouped
from klamp.evaluation.comparison.reading import read_runs


def group_of(folder: Path, *runs: list[str]) -> Group:
    folders = [run(folder / str(n), lines, seed=n) for n, lines in enumerate(runs)]
    (group,) = grouped(read_runs(folders)[0])
    return group


def test_the_mean_is_over_the_runs_that_are_there(tmp_path: Path) -> None:
    group = group_of(tmp_path, learning([0.0, 10.0, 20.0, 30.0]), learning([2.0, 20.0]))
    curve = curve_of(group, 0, "return_mean", "step", 4, single=True)
    assert curve is not None
    np.testing.assert_allclose(curve.x, [100, 200, 300, 400])
    np.testing.assert_allclose(curve.y, [1, 15, 20, 30])
    np.testing.assert_allclose(curve.low, [0, 10, 20, 30])
    np.testing.assert_allclose(curve.high, [2, 20, 20, 30])
    assert curve.whole == slice(0, 2)
    assert [len(x) for x, _ in curve.seeds] == [4, 2]
    timed = curve_of(group, 0, "return_mean", "time_s", 4, single=False)
    assert timed is not None
    np.testing.assert_allclose(timed.x, [0.5, 1, 1.5, 2])
    assert timed.seeds == []
    np.testing.assert_allclose(timed.times(60).x, timed.x * 60)


def test_lines_that_share_no_step_have_no_whole_part(tmp_path: Path) -> None:
    late = [line(step=1000, time_s=9.0), line(step=2000, time_s=9.5)]
    group = group_of(tmp_path, learning([0.0, 10.0]), late)
    curve = curve_of(group, 0, "return_mean", "step", 20, single=True)
    assert curve is not None
    assert len(curve.x[curve.whole]) == 0
    assert not np.isnan(curve.y).any()


def test_a_metric_that_was_not_measured_has_no_curve(tmp_path: Path) -> None:
    group = group_of(tmp_path, [line(kl=None)])
    assert curve_of(group, 0, "kl", "step", 10, single=True) is None
    assert curve_of(group, 0, "eval_return_mean", "step", 10, single=True) is None
    one = curve_of(group, 0, "entropy", "step", 10, single=True)
    assert one is not None
    assert list(one.y) == [1.0] * 10


def test_single_lines_are_thinned_to_their_ends(tmp_path: Path) -> None:
    lines = learning([float(n) for n in range(1000)])
    curve = curve_of(group_of(tmp_path, lines, lines), 0, "return_mean", "step", 50, single=True)
    assert curve is not None
    x, y = curve.seeds[0]
    assert len(x) == 50
    assert (x[0], x[-1], y[-1]) == (100, 100_000, 999)


def test_the_profile_falls_from_one_to_nothing(tmp_path: Path) -> None:
    group = group_of(tmp_path, learning([1.0]), learning([3.0]))
    curve = profile_of(group, 3, np.array([0.0, 2.0, 4.0]))
    assert curve is not None
    assert list(curve.y) == [1.0, 0.5, 0.0]
    never = group_of(tmp_path / "never", [line(return_mean=None)])
    assert profile_of(never, 0, np.zeros(1)) is None
