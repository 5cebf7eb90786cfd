"""Groups, what tells them apart, and what may be said of two."""

from pathlib import Path

import numpy as np
import pytest
from run_folders import learning, run, seeds

from klamp.evaluation.comparison.groups import (
    Group,
    differences,
    grouped,
    pairs,
    score,
    steps_to,
    threshold_of,
)
from klamp.evaluation.comparison.reading import read_runs


def groups_of(*folders: Path) -> list[Group]:
    return grouped(read_runs(list(folders))[0])


def test_seeds_and_versions_are_pooled_and_settings_are_not(tmp_path: Path) -> None:
    found = groups_of(
        seeds(tmp_path / "a", [1.0, 2.0], clip=0.2),
        run(tmp_path / "newer", learning([1.0]), clip=0.2, seed=9, klamp_version="0.2.0"),
        seeds(tmp_path / "b", [3.0], clip=0.1),
        seeds(tmp_path / "c", [3.0], algo="trpo", max_kl=0.01),
        seeds(tmp_path / "d", [3.0], env="F-v1", clip=0.2),
    )
    assert [(group.env, group.label, len(group.runs)) for group in found] == [
        ("E-v1", "ppo, clip=0.2", 3),
        ("E-v1", "ppo, clip=0.1", 1),
        ("E-v1", "trpo", 1),
        ("F-v1", "ppo", 1),
    ]
    # `max_kl` is a setting of one of them alone: it differs from nothing.
    assert differences(found[:3]) == {"algo": ["ppo", "ppo", "trpo"], "clip": ["0.2", "0.1", "–"]}


def test_names_too_long_are_numbered(tmp_path: Path) -> None:
    found = groups_of(*(run(tmp_path / x, learning([1.0]), net=x * 50) for x in "ab"))
    assert [group.label for group in found] == ["ppo #1", "ppo #2"]


def test_the_score_of_seeds_and_of_one_and_of_none(tmp_path: Path) -> None:
    (many,) = groups_of(seeds(tmp_path / "many", [0.0, 10.0, 11.0, 12.0, 100.0]))
    found = score(many)
    assert found is not None
    assert found.iqm == pytest.approx(11.0)
    assert found.mean == pytest.approx(26.6)
    assert found.interval is not None
    (one,) = groups_of(seeds(tmp_path / "one", [5.0]))
    found = score(one)
    assert found is not None
    assert found.interval is None
    (none,) = groups_of(run(tmp_path / "none", learning([None])))  # type: ignore[list-item]
    assert score(none) is None
    assert pairs([none, one]) == []
    assert threshold_of([none], None) is None
    assert threshold_of([none], 3.0) == 3.0


@pytest.mark.parametrize(
    ("one", "other", "told_apart", "too_few"),
    [
        ([1.0, 2.0, 3.0], [4.0, 5.0, 6.0], False, True),
        ([1.0, 2.0, 3.0, 3.5], [4.0, 5.0, 6.0, 7.0], True, False),
        ([1.0, 2.0, 3.0, 9.0], [4.0, 5.0, 6.0, 7.0], False, False),
        ([1.0], [4.0, 5.0], False, True),
        ([1.0] * 5, [1.0] * 5, False, False),
    ],
)
def test_two_are_told_apart_only_where_seeds_can(
    one: list[float], other: list[float], told_apart: bool, too_few: bool, tmp_path: Path
) -> None:
    (pair,) = pairs(
        groups_of(seeds(tmp_path / "a", one), seeds(tmp_path / "b", other, algo="trpo"))
    )
    assert (pair.told_apart, pair.too_few) == (told_apart, too_few)
    assert pair.probability >= 0.5
    assert pair.above.algorithm == ("ppo" if one == other else "trpo")


def test_steps_to_a_return(tmp_path: Path) -> None:
    (group,) = groups_of(
        run(tmp_path / "a", learning([1.0, 5.0, 9.0]), seed=0),
        run(tmp_path / "b", learning([5.0, 1.0, 1.0]), seed=1),
        run(tmp_path / "c", learning([1.0, 1.0, 1.0]), seed=2),
    )
    assert steps_to(group, 5.0) == (200.0, 2)
    assert steps_to(group, 9.0) == (np.inf, 1)
    assert steps_to(group, 1.0) == (100.0, 3)


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5])
def test_the_median_seed_of_every_group_has_reached_the_threshold(
    count: int, tmp_path: Path
) -> None:
    generator = np.random.default_rng(count)
    groups = groups_of(
        *(seeds(tmp_path / x, list(generator.normal(9, 1, count)), algo=x) for x in "abc")
    )
    threshold = threshold_of(groups, None)
    assert threshold is not None
    assert all(np.isfinite(steps_to(group, threshold)[0]) for group in groups)
    # A little higher, and one of them has not.
    assert not all(np.isfinite(steps_to(group, threshold + 1e-9)[0]) for group in groups)
