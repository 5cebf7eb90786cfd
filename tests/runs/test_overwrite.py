"""A new run in the place of another: all of that one goes, and nothing else."""

from pathlib import Path

import pytest

import klamp
from klamp.runs.folder import LOCK, OWNER, locked, nothing_trained
from klamp.runs.overwrite import remove_run, replaceable

CONFIG = klamp.RunConfig("CartPole-v1", klamp.PPO(), klamp.Settings())


def a_run(folder: Path) -> None:
    for name in ("config.json", "metrics.jsonl", "summary.json", "metrics.csv", "wandb.id", LOCK):
        folder.mkdir(exist_ok=True)
        (folder / name).write_text("x")
    for name in ("checkpoints/step_1", "tensorboard", "set-aside-1/checkpoints"):
        (folder / name).mkdir(parents=True)
        (folder / name / "file").write_text("x")


def test_a_run_is_removed_whole(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    a_run(folder)
    assert replaceable(CONFIG, folder) == folder
    assert (folder / "metrics.jsonl").exists()
    with locked(folder):
        remove_run(folder)
    assert {path.name for path in folder.iterdir()} <= {LOCK, OWNER}


def test_what_no_run_wrote_keeps_the_folder(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    a_run(folder)
    (folder / "policy.onnx").write_text("x")
    with pytest.raises(klamp.RunFolderError, match=r"holds 'policy.onnx', which is no file of a"):
        replaceable(CONFIG, folder)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.tex").write_text("x")
    with pytest.raises(klamp.RunFolderError, match="holds no run"):
        replaceable(CONFIG, tmp_path / "other")
    assert replaceable(CONFIG, tmp_path / "new") == tmp_path / "new"


def test_what_a_kill_leaves_is_a_run_that_begins_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "run"
    a_run(folder)
    real = Path.unlink

    def killed(path: Path, missing_ok: bool = False) -> None:
        if path.name == "config.json":
            raise KeyboardInterrupt
        real(path, missing_ok)

    monkeypatch.setattr(Path, "unlink", killed)
    with pytest.raises(KeyboardInterrupt):
        remove_run(folder)
    assert (folder / "config.json").exists()
    assert nothing_trained(folder)
    assert replaceable(CONFIG, folder) == folder
