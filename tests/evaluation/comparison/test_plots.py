"""Which plots there are, and how large."""

from pathlib import Path

from run_folders import learning, line, run, seeds

from klamp.evaluation.comparison.groups import Group, grouped
from klamp.evaluation.comparison.plots import FEWEST, METRICS, MOST, fineness, plots
from klamp.evaluation.comparison.reading import read_runs


def groups_of(*folders: Path) -> list[Group]:
    return grouped(read_runs(list(folders))[0])


def test_a_metric_that_nobody_measured_has_no_plot(tmp_path: Path) -> None:
    groups = groups_of(seeds(tmp_path / "a", [1.0, 2.0]))
    text = plots(groups, {"ppo": 0}, 20, single=True)
    # Four metrics along two axes, and the profile; no evaluation.
    assert text.count('<svg class="plot"') == 2 * (len(METRICS) - 1) + 1
    assert METRICS["eval_return_mean"].title not in text
    evaluated = run(tmp_path / "b", [line(), line(step=2, eval_return_mean=3.0)])
    text = plots(groups_of(evaluated), {"ppo": 0}, 20, single=True)
    assert METRICS["eval_return_mean"].title in text


def test_every_bound_is_drawn_in_the_kl_plot(tmp_path: Path) -> None:
    groups = groups_of(
        run(tmp_path / "a", learning([1.0]), algo="trpo", max_kl=0.01),
        run(tmp_path / "b", learning([1.0]), algo="trpo", max_kl=0.02),
        run(tmp_path / "c", learning([1.0]), max_kl=None),
        run(tmp_path / "d", learning([1.0]), algo="odd", max_kl="high"),
    )
    text = plots(groups, {group.label: n for n, group in enumerate(groups)}, 20, single=True)
    assert text.count('<line class="mark"') == 4
    for bound in ("δ = 0.01", "δ = 0.02"):
        assert text.count(bound) == 2


def test_lines_get_coarser_before_a_page_gets_large() -> None:
    def of(groups: int, runs: int) -> tuple[int, bool]:
        return fineness([Group("e", "a", f"{n}", [None] * runs) for n in range(groups)])  # type: ignore[list-item]

    assert of(2, 5) == (MOST, True)
    points, single = of(20, 10)
    assert FEWEST < points < MOST
    assert single
    assert of(200, 10) == (FEWEST, False) or not of(200, 10)[1]
