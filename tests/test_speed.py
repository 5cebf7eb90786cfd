"""The benchmark: ratios within a repeat, rows that are kept, what could not run."""

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

FOLDER = Path(__file__).resolve().parents[1] / "benchmarks"


@pytest.fixture(scope="module")
def bench() -> Iterator[Any]:
    sys.path.insert(0, str(FOLDER))
    try:
        names = (
            "rows",
            "speed",
            "speed_report",
            "interpreters",
            "growth",
            "harness",
            "same_learning",
        )
        yield SimpleNamespace(**{name: importlib.import_module(name) for name in names})
    finally:
        sys.path.remove(str(FOLDER))


def run(wall: float, cpu: float, steps: int = 100) -> dict[str, Any]:
    return {
        "iterations": 1,
        "steps": steps,
        "wall_s": wall,
        "cpu_s": cpu,
        "rollout_s": wall / 4,
        "update_s": wall / 2,
        "start_s": 1.0,
        "compile_s": 2.0,
        "peak_memory_mib": 300.0,
        "others": 0.02,
        "python": "3.11",
        "versions": {"thing": "1.0"},
    }


def part(kind: str, ours: list[Any], theirs: list[Any], at_least: float = 2.0) -> dict[str, Any]:
    goal = {"ours": "klamp", "theirs": "sb3", "at_least": at_least, "aim": None}
    row = {
        "name": "a-row",
        "title": "A row",
        "kind": kind,
        "goals": [goal],
        "notes": ["A note."],
        "cores": 1,
        "epochs": 10,
        "num_envs": 8,
        "rollout_length": 8,
        "minibatch_size": 64,
    }
    return {
        "row": row,
        "runs": {"klamp": ours, "sb3": theirs},
        "klamp": {"klamp": "0.1.0", "commit": "abc"},
        "machine": {
            "processor": "one",
            "cores": 2,
            "memory_gib": 8,
            "system": "Linux",
            "load_before": 0.1,
        },
        "protocol": {"repeats": 2, "iterations": 10, "warmup": 3},
    }


def test_ratios_are_taken_within_a_repeat(bench: Any) -> None:
    ours, theirs = [run(1.0, 0.5), run(2.0, 2.0, 400)], [run(4.0, 3.0), run(1.0, 1.0)]
    row = part("training", ours, theirs)
    assert bench.speed_report.ratios(row, "klamp", "sb3") == [4.0, 2.0]
    assert bench.speed_report.ratios(row, "klamp", "sb3", "cpu_s") == [6.0, 2.0]


def test_a_time_is_of_the_whole_task(bench: Any) -> None:
    row = part("time", [run(2.0, 1.0, steps=50)], [run(8.0, 8.0, steps=100)])
    assert bench.speed_report.ratios(row, "klamp", "sb3") == [4.0]


def test_a_failed_run_has_no_ratio(bench: Any) -> None:
    row = part("training", [{"error": "broken"}, run(1.0, 1.0)], [run(1.0, 1.0), run(3.0, 3.0)])
    assert bench.speed_report.ratios(row, "klamp", "sb3") == [3.0]


NAMES = {"klamp": "klamp", "sb3": "Stable-Baselines3"}


@pytest.mark.parametrize(("at_least", "verdict"), [(3.0, "met"), (3.1, "missed")])
def test_the_verdict_is_of_the_median(bench: Any, at_least: float, verdict: str) -> None:
    theirs = [run(1.0, 1.0), run(3.0, 3.0), run(30.0, 30.0)]
    row = part("training", [run(1.0, 1.0)] * 3, theirs, at_least)
    line = next(x for x in bench.speed_report.page([row], NAMES).splitlines() if "a-row" in x)
    assert line.endswith(f"| {verdict} |")
    assert "**3.0×**" in line


def test_the_page_names_what_could_not_run(bench: Any) -> None:
    row = part("training", [run(1.0, 1.0)], [{"error": "not installed: no wheel"}])
    text = bench.speed_report.page([row], NAMES)
    assert text.count("not installed: no wheel") == 2
    assert "A note." in text


@pytest.mark.parametrize("kind", ["training", "update", "time"])
def test_every_line_of_a_table_has_its_columns(bench: Any, kind: str) -> None:
    row = part(kind, [run(1.0, 1.0)], [{"error": "none"}])
    text = bench.speed_report.page([row], NAMES)
    table = [line for line in text.split("## A row")[1].splitlines() if line.startswith("|")]
    assert len({line.count("|") for line in table}) == 1
    assert len(table) == 4


def test_a_microsecond_a_minibatch(bench: Any) -> None:
    # One iteration of 64 steps is 10 minibatches of 64.
    row = part("update", [run(1e-3, 1e-3, steps=64)], [run(1.0, 1.0)])
    assert "| 100.0 (100.0 to 100.0) |" in bench.speed_report.page([row], NAMES)


def test_rows_measured_before_are_kept_in_order(bench: Any) -> None:
    first, second, *_ = (row.name for row in bench.rows.ROWS)
    before = {second: "old", "no longer there": "old"}
    merged = bench.speed.merge(before, {first: "new"})
    assert list(merged.items()) == [(first, "new"), (second, "old")]
    assert bench.speed.merge(before, {second: "new"}) == {second: "new"}


def test_other_formats_are_not_read(bench: Any, tmp_path: Path) -> None:
    path = tmp_path / "speed.json"
    assert bench.speed.load(path) == {}
    path.write_text('{"rows": [1]}')
    assert bench.speed.load(path) == {}
    path.write_text('{"format": 2, "rows": {"a": 1}}')
    assert bench.speed.load(path) == {"a": 1}


def test_rows_name_systems_that_exist(bench: Any) -> None:
    names = [row.name for row in bench.rows.ROWS]
    assert len(set(names)) == len(names)
    for row in bench.rows.ROWS:
        assert set(row.systems) <= set(bench.rows.SYSTEMS)
        for goal in row.goals:
            assert {goal.ours, goal.theirs} <= set(row.systems)
    for system in bench.rows.SYSTEMS.values():
        assert (FOLDER / "requirements" / f"{system.group}.txt").exists()


@pytest.mark.parametrize(
    "path", sorted((FOLDER / "requirements").glob("*.txt")), ids=lambda p: p.stem
)
def test_requirements_are_pinned(path: Path) -> None:
    for line in path.read_text(encoding="utf-8").splitlines():
        assert line.startswith(("#", "--constraint ", "--editable .")) or "==" in line


def test_the_work_of_a_point_of_growth(bench: Any) -> None:
    by_name = {sweep.name: sweep for sweep in bench.growth.SWEEPS}
    work = bench.growth.work_at(by_name["environments-ppo"], 4096)
    assert (work["num_envs"], work["rollout_length"]) == (4096, 128)
    assert work["minibatch_size"] * bench.growth.MINIBATCHES == 4096 * 128
    work = bench.growth.work_at(by_name["width-trpo"], 256)
    assert work["hidden_sizes"] == (256, 256)
    assert (work["algorithm"], work["minibatch_size"]) == ("trpo", 64)


def test_a_group_that_cannot_be_built_has_a_reason(
    bench: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    def build(group: str) -> str:
        calls.append(group)
        raise bench.interpreters.BuildError("not installed: no wheel")

    monkeypatch.setattr(bench.interpreters, "build", build)
    found = bench.interpreters.Interpreters({"klamp": "python"})
    assert found.python("klamp") == "python"
    assert found.python("torch") is None
    assert found.python("torch") is None
    assert (found.reasons, calls) == ({"torch": "not installed: no wheel"}, ["torch"])


def test_a_worker_that_is_not_there_is_named(bench: Any) -> None:
    found = bench.harness.run_worker("python", "nobody", {"cores": [0]})
    assert found == {"error": "there is no benchmarks/systems/nobody.py"}


def test_curves_of_the_same_kind_are_the_same_and_others_are_not(bench: Any) -> None:
    """Both halves of the rule: a slower start with the same area, and a lower area."""
    steps = np.arange(0, 50_001, 2_000)

    def curves(shape: Any) -> list[Any]:
        each = [shape(steps / 50_000) + seed for seed in np.linspace(-30, 30, 10)]
        # The first rollout ended no episode.
        return [[(0, None), *zip(steps, one, strict=True)] for one in each]

    def compared(ours: Any, theirs: Any = lambda x: 400 * x) -> dict[str, Any]:
        return bench.same_learning.compare(
            {
                "row": {"num_envs": 8, "rollout_length": 250},
                "curves": {"klamp": curves(ours), "reference": curves(theirs)},
            }
        )

    assert compared(lambda x: 400 * x)["same"]
    lower = compared(lambda x: 300 * x)
    assert not lower["same"]
    assert lower["high"] < 0
    later = compared(lambda x: 400 * x + 120 * np.sin(2 * np.pi * x))
    assert later["low"] < 0 < later["high"]
    assert not later["same"]
