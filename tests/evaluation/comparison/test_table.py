"""The table: one cell below each title, whatever the files say, and honest sentences."""

import re
from pathlib import Path

import pytest
from run_folders import KEYS, learning, line, run, seeds

from klamp.evaluation.comparison.groups import grouped
from klamp.evaluation.comparison.reading import read_runs
from klamp.evaluation.comparison.table import as_text, tables


def text_of(*folders: Path, width: int = 120, threshold: float | None = None) -> str:
    return as_text(tables(grouped(read_runs(list(folders))[0]), threshold), width)


def test_the_table_of_two_algorithms(tmp_path: Path) -> None:
    text = text_of(
        seeds(tmp_path / "a", [10.0, 20.0, 30.0, 40.0, 50.0]),
        seeds(tmp_path / "b", [100.0] * 5, algo="trpo"),
        threshold=15.0,
    )
    env, _, head, ppo, trpo, _, *said = text.splitlines()
    assert env == "E-v1"
    assert re.split(" {2,}", head) == [
        "algorithm", "seeds", "IQM", "95 % interval", "mean", "steps to 15.0", "steps", "time",
        "mean KL",
    ]  # fmt: skip
    cells = re.split(" {2,}", ppo)
    assert cells[:3] == ["ppo", "5", "30.0"]
    assert cells[4:] == ["30.0", "200 (4 of 5)", "300", "1.5 s", "1.0000"]
    assert re.split(" {2,}", trpo)[:5] == ["trpo", "5", "100.0", "100.0 … 100.0", "100.0"]
    assert said == [
        "trpo returns more than ppo: each of its 5 seeds more than all 5 of the other, which "
        "chance alone does in 0.8 % of cases."
    ]
    narrow = text_of(tmp_path, width=80, threshold=15.0).splitlines()[2:5]
    assert narrow == [each.rstrip().removesuffix(end).rstrip() for each, end in
                      ((head, "mean KL"), (ppo, "1.0000"), (trpo, "1.0000"))]  # fmt: skip


@pytest.mark.parametrize(
    ("one", "other", "wanted"),
    [
        ([1.0], [2.0], ["of one seed each nothing can be said", "One seed has no interval"]),
        (
            [1.0] * 3,
            [2.0] * 3,
            ["3 and 3 seeds are too few", "in 10 % of cases", "3 seeds say"],
        ),
        ([1.0, 2, 3, 4, 5], [1.5, 2.5, 3.5, 4.5, 0.0], ["are not told apart"]),
    ],
)
def test_nothing_is_ranked_where_seeds_say_nothing(
    one: list[float], other: list[float], wanted: list[str], tmp_path: Path
) -> None:
    text = text_of(seeds(tmp_path / "a", one), seeds(tmp_path / "b", other, algo="trpo"))
    assert "returns more than" not in text
    for part in wanted:
        assert part in text


def test_many_pairs_are_counted_and_other_budgets_told(tmp_path: Path) -> None:
    folders = [seeds(tmp_path / f"{n}", [1.0, 2.0], clip=n / 10) for n in range(6)]
    long = run(tmp_path / "long", learning([1.0] * 9), algo="trpo")
    text = text_of(*folders, long)
    assert "21 pairs are not told apart by these seeds." in text
    assert "different numbers of steps" in text


def test_what_never_was_is_a_dash(tmp_path: Path) -> None:
    """Every update refused, and no episode ended."""
    never = [line(step=n, kl=None, return_mean=None) for n in (1, 2)]
    row = text_of(run(tmp_path / "run", never)).splitlines()[3]
    assert row.split() == ["ppo", "1", "–", "–", "–", "–", "2", "1.0", "s", "–"]


@pytest.mark.parametrize("name", ["env", "algo"])
@pytest.mark.parametrize(
    "text",
    [
        "\x1b[2J\x1b]0;title\a",
        "E-v1\nE-v2  trpo  10  500.0",
        "E-v1  ppo  99  500.0",
        "\u202e1v-E",
        "\ud800",
        "x" * 10**5,
    ],
    ids=["escape", "rows", "cells", "direction", "half", "long"],
)
def test_a_name_of_a_stranger_stays_in_its_cell(name: str, text: str, tmp_path: Path) -> None:
    folder = run(tmp_path / "run", [line(step=1), line(step=2)], **{name: text})
    lines = text_of(folder).splitlines()
    assert len(lines) == 6
    assert all(each.isprintable() for each in lines)
    # One cell below each title: none of its own, and none that a usual terminal breaks.
    head, row = lines[2:4]
    assert len(re.split(" {2,}", row)) == len(re.split(" {2,}", head))
    assert head.index("95 %") < 80


@pytest.mark.parametrize("size", [1e100, -1e100, 1e20, 5e-324, 0.0])
def test_the_largest_and_the_smallest_numbers_are_numbers(size: float, tmp_path: Path) -> None:
    values = dict.fromkeys(KEYS, size)
    one = [line(step=step, **values) for step in (10, 10, 10**12 - 1)]
    other = [line(step=step, **dict.fromkeys(KEYS, -size)) for step in (0, 11, 12)]
    text = text_of(run(tmp_path / "a", one), run(tmp_path / "b", other, seed=1))
    assert not re.search(r"\b(nan|inf)\b", text)
    assert max(map(len, text.splitlines()[:4])) < 200
