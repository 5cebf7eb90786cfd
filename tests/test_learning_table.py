"""The table of what is learnt: runs are made once, kills lose nothing, what is compared."""

import importlib
import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

FOLDER = Path(__file__).resolve().parents[1] / "benchmarks"

WORKER = """
import json, sys
work = json.loads(sys.argv[1])
if work["seed"] == 7:
    raise SystemExit("no such luck")
print("something else")
print(json.dumps({"return": work["seed"], "best": 1, "evaluation": [2.0], "cpu_s": 0.1}))
"""


@pytest.fixture(scope="module")
def bench() -> Iterator[Any]:
    sys.path.insert(0, str(FOLDER))
    try:
        names = ("campaign", "learning_rows", "learning_page", "learning_picture", "harness")
        yield SimpleNamespace(**{name: importlib.import_module(name) for name in names})
    finally:
        sys.path.remove(str(FOLDER))


def a_run(seed: int, end: float, best: float, first: float = 0.0) -> dict[str, Any]:
    return {
        "seed": seed,
        "return": end,
        "best": best,
        "evaluation": [end, end],
        "curve": {"step": [1, 2], "return_mean": [first, end]},
        "cpu_s": 60.0,
        "date": "2000-01-01",
    }


def test_missing_runs_are_made_and_a_failed_one_is_told(
    bench: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    package = tmp_path / "systems"
    package.mkdir()
    (package / "sb3_learning.py").write_text(WORKER)
    variables = {"PYTHONPATH": str(tmp_path)}
    monkeypatch.setattr(bench.harness, "environment", lambda *_: variables)
    results = bench.campaign.Results(tmp_path / "learning.jsonl")
    row = bench.learning_rows.PEERS[0]

    def make(seeds: list[int]) -> list[int]:
        bench.campaign.run(lambda: row.jobs(seeds), results, {"sb3": sys.executable}, processes=2)
        lines = results.path.read_text().splitlines()
        return [json.loads(line)["seed"] for line in lines if line.endswith("}")]

    assert sorted(make([1, 7, 2])) == [1, 2]
    assert "FAILED sb3 CartPole-v1 ppo" in (said := capsys.readouterr().out)
    assert "no such luck" in said
    # A kill in the middle of a line: the next line is whole, and nothing is made twice.
    with results.path.open("a") as file:
        file.write('{"seed":3,"sys')
    assert sorted(make([1, 2, 3])) == [1, 2, 3]
    assert len(make([1, 2, 3])) == 3
    assert results.of(row.jobs([3])[0])["return"] == 3
    assert results.of(row.jobs([3], steps=50_000)[0]) is None


def test_a_run_counts_where_its_whole_configuration_is_todays(bench: Any, tmp_path: Path) -> None:
    job = next(row for row in bench.learning_rows.KLAMP if row.algo == "trpo").jobs([4])[0]
    results = bench.campaign.Results(tmp_path / "learning.jsonl")
    held = job.config
    # A setting that came after the run stood at its default then.
    del held["discount"]
    results.append({"system": "klamp", "seed": 4, "config": held})
    results.refresh()
    assert results.of(job) is not None
    assert results.of(replace(job, settings={"max_kl": 0.5})) is None
    assert results.of(replace(job, seed=5)) is None
    assert results.of(replace(job, steps=50_000)) is None


@pytest.mark.parametrize(
    ("first", "best", "end", "is_one"),
    [(0, 100, 49, True), (0, 100, 51, False), (-500, -100, -350, True), (-500, -100, -250, False),
     (-200, -200, -200, False)],
)  # fmt: skip
def test_collapse_is_the_loss_of_half_of_the_gain(
    bench: Any, first: float, best: float, end: float, is_one: bool
) -> None:
    assert bench.learning_page.collapsed(a_run(0, end, best, first)) is is_one


def test_what_is_compared(bench: Any) -> None:
    ours, theirs = (
        [a_run(0, 30, 30), a_run(1, 50, 50)],
        [a_run(0, 10, 20), a_run(1, 30, 90)],
    )
    mine, other = bench.learning_page.normalised(ours, theirs)
    np.testing.assert_allclose(mine, [1.5, 2.5])
    np.testing.assert_allclose(other, [0.5, 1.5])
    peer = bench.learning_rows.PEERS[0]
    row = next(row for row in bench.learning_rows.KLAMP if row.task == peer.task)
    assert bench.learning_page.pairs([(row, ours), (peer, theirs)]) == [(row, ours, theirs)]


def test_the_page_of_what_is_there(bench: Any, tmp_path: Path) -> None:
    results = bench.campaign.Results(tmp_path / "learning.jsonl")
    peer = bench.learning_rows.PEERS[0]
    row = next(row for row in bench.learning_rows.KLAMP if row.task == peer.task)
    for of, end in ((row, 500), (peer, 400)):
        for job in of.jobs([0, 1]):
            about = {"system": of.system, "config": job.config, "commit": "abc"}
            results.append(a_run(job.seed, end, 500) | about)
    results.refresh()
    present = bench.learning_page.runs_that_are_there(results)
    said = bench.learning_page.page(present)
    assert "| CartPole-v1 | ppo | 100,000 | 2 | ≥ 500 | 500 | 500 (500 to 500) " in said
    assert "| 100% (100% to 100%) |" in said
    assert "| sb3 | ppo | 2 | 0 |" in said
    assert said.count("Not all seeds are there yet") == 1


def test_curves_of_seeds_share_their_steps(bench: Any) -> None:
    """From where every seed has a return to where the first one ends."""
    one = {"curve": {"step": [10, 20, 40], "return_mean": [None, 2.0, 4.0]}}
    other = {"curve": {"step": [15, 30], "return_mean": [1.0, 4.0]}}
    steps, returns = bench.learning_picture.curves([one, other])
    assert (steps[0], steps[-1]) == (20, 30)
    np.testing.assert_allclose(returns[0], [2, 2])
    np.testing.assert_allclose(returns[-1], [3, 4])


def test_every_row_is_a_run_that_can_be_started(bench: Any) -> None:
    names = [row.name for row in bench.learning_rows.ROWS]
    assert len(set(names)) == len(names)
    for row in bench.learning_rows.ROWS:
        assert row.jobs()[0].config
        assert max(row.seeds) < 1000
