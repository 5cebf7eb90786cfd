"""Which folders are runs, and what of them is taken."""

import os
from pathlib import Path

import numpy as np
import pytest
from run_folders import learning, line, run, seeds

import klamp
from klamp.evaluation.comparison.reading import RunReader, read_runs, runs_in, unfinished


def test_what_a_folder_stands_for(tmp_path: Path) -> None:
    alone = run(tmp_path / "runs" / "alone", learning([1.0]))
    ten = seeds(tmp_path / "runs" / "ten", [float(n) for n in range(11)])
    assert runs_in(alone) == [alone]
    # A checkpoint stands for its run; 10 comes after 2.
    assert runs_in(alone / "checkpoints" / "step_000000000001") == [alone]
    assert [path.name for path in runs_in(ten)] == [f"seed-{n}" for n in range(11)]
    assert runs_in(tmp_path / "runs") == [alone, *runs_in(ten)]
    assert runs_in(tmp_path / "nowhere") == []


def test_one_folder_counts_once_by_whatever_name(tmp_path: Path) -> None:
    one = run(tmp_path / "one", learning([1.0]))
    (tmp_path / "other-name").symlink_to(one)
    runs, notes = read_runs([one, one, tmp_path / "other-name"])
    assert [found.folder for found in runs] == [one]
    assert notes == [f"Named twice, and counted once: {one}, {tmp_path / 'other-name'}."]


def test_what_is_no_run_is_passed_over_with_a_note(tmp_path: Path) -> None:
    one = run(tmp_path / "one", learning([1.0]))
    early = run(tmp_path / "early", [])
    (tmp_path / "early" / "metrics.jsonl").unlink()
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("")
    given = [tmp_path / "empty", one, tmp_path / "file", early, tmp_path / "nowhere"]
    runs, notes = read_runs(given)
    assert [found.folder for found in runs] == [one]
    assert [note.removeprefix(str(tmp_path)) for note in notes] == [
        "/empty was passed over: it holds no run.",
        "/file was passed over: it is no folder.",
        "/nowhere was passed over: there is no such folder.",
        f"Passed over, for they have no update yet: {early}.",
    ]


def test_a_run_that_was_killed_counts_as_far_as_it_is(tmp_path: Path) -> None:
    killed = run(tmp_path / "killed", [*learning([1.0, 2.0]), '{"update": 3, "st'], ended=False)
    resumed = run(tmp_path / "resumed", learning([1.0, 2.0, 3.0]))
    (resumed / "summary.json").write_text('{"step": 200}')
    runs, _ = read_runs([killed, resumed, run(tmp_path / "ended", learning([1.0]))])
    assert [found.final for found in runs] == [2.0, 3.0, 1.0]
    assert [found.ended for found in runs] == [False, False, True]
    (said,) = unfinished(runs)
    assert str(killed) in said
    assert str(resumed) in said
    assert "/ended" not in said


def test_a_reader_reads_on(tmp_path: Path) -> None:
    folder = run(tmp_path / "run", learning([1.0, 2.0]), ended=False)
    reader = RunReader(folder)
    first = reader.read()
    assert reader.read() is first
    (folder / "metrics.jsonl").write_text("".join(learning([1.0, 2.0, None, 4.0])))  # type: ignore[list-item]
    second = reader.read()
    assert second is not None
    np.testing.assert_array_equal(second.columns["return_mean"], [1.0, 2.0, np.nan, 4.0])
    # Resumed from an older checkpoint: the lines after it are others.
    (folder / "metrics.jsonl").write_text("".join(learning([1.0, 7.0])))
    third = reader.read()
    assert third is not None
    assert list(third.columns["return_mean"]) == [1.0, 7.0]


def test_after_damage_a_reader_begins_again(tmp_path: Path) -> None:
    folder = run(tmp_path / "run", [*learning([1.0, 2.0]), "{\n"], ended=False)
    reader = RunReader(folder)
    for _ in range(2):
        with pytest.raises(klamp.CheckpointError, match="damaged in line 3"):
            reader.read()
    (folder / "metrics.jsonl").write_text("".join(learning([1.0, 2.0, 3.0])))
    found = reader.read()
    assert found is not None
    assert list(found.columns["step"]) == [100, 200, 300]


def test_a_clock_that_was_set_back_stands_still(tmp_path: Path) -> None:
    lines = [line(step=n, time_s=time) for n, time in enumerate([1.0, 5.0, 3.0, None, 6.0], 1)]
    found = RunReader(run(tmp_path / "run", lines)).read()
    assert found is not None
    assert list(found.columns["time_s"]) == [1.0, 5.0, 5.0, 5.0, 6.0]


@pytest.mark.parametrize(
    ("name", "content", "wanted"),
    [
        ("config.json", "[]", "expected a JSON object"),
        ("config.json", '{"algo": "ppo"}', "config.json has 'nothing' as `env`"),
        ("summary.json", '{"step": "high"}', "summary.json has 'high' as `step`"),
        ("metrics.jsonl", "{\n", "metrics.jsonl is damaged in line 1"),
        ("metrics.jsonl", '{"update": 1}\n', "metrics.jsonl has 'nothing' as `step` after 0"),
        ("metrics.jsonl", line(step=10**12), "metrics.jsonl has 1000000000000 as `step`"),
        ("metrics.jsonl", line(step=5) + line(step=4), "metrics.jsonl has 4 as `step` after 5"),
        ("metrics.jsonl", line(step=1.0), "metrics.jsonl has 1.0 as `step`"),
        ("metrics.jsonl", line(kl=10**308), "as `kl`"),
        ("metrics.jsonl", line(return_mean="high"), "has 'high' as `return_mean`"),
        ("metrics.jsonl", line(entropy=-1.7e308), "metrics.jsonl has -1.7e+308 as `entropy`"),
        ("metrics.jsonl", line(eval_return_mean=[]), "has [] as `eval_return_mean`"),
    ],
)
def test_what_cannot_be_compared_is_named(
    name: str, content: str, wanted: str, tmp_path: Path
) -> None:
    folder = run(tmp_path / "run", learning([1.0]))
    (folder / name).write_text(content)
    with pytest.raises(klamp.CheckpointError) as caught:
        read_runs([folder])
    assert wanted in str(caught.value)


def test_what_is_no_file_is_not_waited_for(tmp_path: Path) -> None:
    folder = run(tmp_path / "run", [])
    (folder / "metrics.jsonl").unlink()
    for make in (os.mkfifo, lambda path: path.symlink_to("/dev/zero"), lambda path: path.mkdir()):
        make(folder / "metrics.jsonl")
        with pytest.raises(klamp.CheckpointError, match="no plain file"):
            read_runs([folder])
        (folder / "metrics.jsonl").rename(tmp_path / str(len(list(tmp_path.iterdir()))))
