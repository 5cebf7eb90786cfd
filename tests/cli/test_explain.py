"""`klamp explain`: a run, an update, a folder of seeds, and what is none of these."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import klamp
from klamp.cli.main import main


def test_a_run_and_an_update(trained: klamp.Result, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", str(trained.folder)]) == 0
    text = capsys.readouterr().out
    assert f"{trained.summary['step']:,} of 6,000 steps" in text
    assert main(["explain", str(trained.folder), "--update", "2"]) == 0
    text = capsys.readouterr().out
    assert "Update 2 was made." in text
    # Every part of the story has its numbers in what a run of today writes.
    for words in ("the largest is", "action dimension 0", "The critic that", "The run stood at"):
        assert words in " ".join(text.split())


def test_each_of_many_seeds(
    trained: klamp.Result, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for seed in (0, 1):
        (tmp_path / f"seed-{seed}").mkdir()
        for name in ("config.json", "metrics.jsonl"):
            shutil.copy(trained.folder / name, tmp_path / f"seed-{seed}" / name)
    assert main(["explain", str(tmp_path)]) == 0
    assert capsys.readouterr().out.count("CartPole-v1 · PPO") == 2


def test_what_is_no_run_is_one_paragraph(
    trained: klamp.Result, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["explain", str(tmp_path)]) == 2
    assert "is no run's folder" in capsys.readouterr().err
    shutil.copy(trained.folder / "config.json", tmp_path / "config.json")
    (tmp_path / "metrics.jsonl").touch()
    assert main(["explain", str(tmp_path)]) == 2
    assert "no updates" in capsys.readouterr().err
    (tmp_path / "metrics.jsonl").write_text('{"update": 1}\n{"upd')
    assert main(["explain", str(tmp_path)]) == 0
    (tmp_path / "metrics.jsonl").write_text('{"update": 1}\n{"upd\n')
    assert main(["explain", str(tmp_path)]) == 2
    assert "damaged in line 2" in capsys.readouterr().err
    assert main(["explain", str(trained.folder), "--update", "99"]) == 2
    assert "has the updates 1 to" in capsys.readouterr().err


def test_it_needs_no_jax(trained: klamp.Result) -> None:
    code = (
        "import sys\nfrom klamp.cli.main import main\n"
        f"assert main(['explain', {json.dumps(str(trained.folder))}]) == 0\n"
        "assert 'jax' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
