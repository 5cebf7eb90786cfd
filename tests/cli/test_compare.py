"""`klamp compare`: the table on standard output, the page where it is asked for."""

from pathlib import Path

import pytest
from run_folders import learning, run, seeds

import klamp
from klamp.cli.main import main


def test_compare_prints_a_table_and_writes_a_page(
    trained: klamp.Result, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    page = tmp_path / "page.html"
    assert main(["compare", str(trained.folder), "--out", str(page)]) == 0
    assert "CartPole-v1" in capsys.readouterr().out
    assert page.read_text().startswith("<!")


def test_the_lines_of_the_readme(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`klamp train … --seeds 2 --out runs/ten`, then `klamp compare runs/*`."""
    monkeypatch.chdir(tmp_path)
    seeds(tmp_path / "runs" / "ten", [1.0, 2.0])
    run(tmp_path / "runs" / "killed", learning([1.0]), ended=False, algo="trpo")
    (tmp_path / "runs" / "notes.txt").write_text("")
    shown = [f"runs/{name}" for name in ("killed", "notes.txt", "ten")]
    assert main(["compare", *shown]) == 0
    text = capsys.readouterr().out
    assert "Not ended, and compared as far as they are: runs/killed." in text
    assert "runs/notes.txt was passed over" in text
    page = (tmp_path / "compare.html").read_text()
    assert "klamp compare runs/killed runs/notes.txt runs/ten" in page
    first = page.split("<main>")[1]
    assert main(["compare", *shown]) == 0
    assert (tmp_path / "compare.html").read_text().split("<main>")[1] == first


def test_nothing_left_is_bad_input(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty").mkdir()
    early = run(tmp_path / "early", [])
    page = tmp_path / "page.html"
    assert main(["compare", str(tmp_path / "empty"), str(early), "--out", str(page)]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1
    assert "There is nothing to compare" in said.err
    assert "it holds no run" in said.err
    assert not page.exists()


def test_a_page_that_cannot_be_written_is_bad_input(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one = run(tmp_path / "one", learning([1.0]))
    for out in (tmp_path / "nowhere" / "page.html", one / "metrics.jsonl" / "page.html", tmp_path):
        assert main(["compare", str(one), "--out", str(out)]) == 2
        said = capsys.readouterr().err
        assert said.count("\n") == 1
        assert "cannot be written" in said
        assert "--out" in said


def test_a_threshold_may_be_given(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one = run(tmp_path / "one", learning([1.0, 2.0, 3.0]))
    page = str(tmp_path / "page.html")
    assert main(["compare", str(one), "--threshold", "2", "--out", page]) == 0
    assert "steps to 2.0" in capsys.readouterr().out
