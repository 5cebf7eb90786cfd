"""A run that goes on is one line of training, whatever stopped it and whatever is in its folder."""

import errno
import json
import os
import shutil
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import klamp
import klamp.training.iteration
from klamp.runs.checkpoint import MANIFEST, latest_checkpoint
from klamp.runs.manifest import Manifest, read_manifest
from klamp.runs.metrics_log import read_metrics

TIMES = ("time_s", "steps_per_second", "wall_s", "compile_s", "folder")


def without_times(lines: list[dict]) -> list[dict]:
    return [{key: line[key] for key in line if key not in TIMES} for line in lines]


LINE: dict[str, Any] = {
    "num_envs": 2,
    "rollout_length": 16,
    "hidden_sizes": (4,),
    "checkpoint_interval": 32,
    "keep_checkpoint_every": 1,
    "quiet": True,
}


def files_of(folder: Path) -> dict[str, bytes]:
    """Every file of a run, the lock apart."""
    paths = [path for path in folder.rglob("*") if path.is_file() and path.name[0] != "."]
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


def states_of(folder: Path) -> dict[str, bytes]:
    """The bytes of every state that `load`, `resume` and "best" may take."""
    paths = (folder / "checkpoints").glob("step_*/*.safetensors")
    return {path.parent.name: path.read_bytes() for path in paths}


def a_line(
    folder: Path, seed: int, steps: int = 160, *, end: float | None = None, over: int | None = None
) -> klamp.Result:
    """Pendulum, saved after every update and nothing removed; scheduled where it has an ``end``."""
    algorithm = klamp.PPO(epochs=1, minibatch_size=32, final_learning_rate=end)
    settings = LINE if over is None else LINE | {"schedule_steps": over}
    return klamp.train("Pendulum-v1", algorithm, steps=steps, seed=seed, out=folder, **settings)


@pytest.fixture
def spliced(tmp_path: Path) -> Path:
    """A run whose later checkpoints are whole, and of another line than the earlier ones."""
    run, other = (a_line(tmp_path / name, seed).folder for name, seed in (("run", 1), ("other", 2)))
    for step in (96, 128, 160):
        name = f"step_{step:012d}"
        shutil.rmtree(run / "checkpoints" / name)
        shutil.copytree(other / "checkpoints" / name, run / "checkpoints" / name)
    return run


def test_a_run_that_goes_on_from_an_older_checkpoint_is_a_line_of_its_own(
    spliced: Path, tmp_path: Path
) -> None:
    whole = a_line(tmp_path / "whole", 1, steps=192).folder
    with pytest.warns(klamp.KlampWarning, match="step 96, 128, 160.*set-aside-1"):
        result = klamp.resume(spliced / "checkpoints" / f"step_{64:012d}", steps=192, quiet=True)
    assert states_of(spliced) == states_of(whole)
    assert without_times(result.metrics) == without_times(read_metrics(whole / "metrics.jsonl"))
    np.testing.assert_array_equal(klamp.load(spliced).theta, result.policy.theta)
    assert set(states_of(spliced / "set-aside-1")) == {f"step_{n:012d}" for n in (96, 128, 160)}
    assert len(read_metrics(spliced / "set-aside-1" / "metrics.jsonl")) == 5


def test_until_it_writes_something_a_resumed_run_has_changed_nothing(
    spliced: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = files_of(spliced)

    def breaks(*_: Any) -> None:
        raise klamp.EnvironmentFault("it broke")

    monkeypatch.setattr(klamp.training.iteration.Iteration, "advance", breaks)
    with pytest.raises(klamp.EnvironmentFault):
        klamp.resume(spliced / "checkpoints" / f"step_{64:012d}", steps=320, quiet=True)
    assert files_of(spliced) == before


def test_settings_and_versions_that_are_not_those_of_the_checkpoint_are_warned_of(
    tmp_path: Path,
) -> None:
    """The bug: a `config.json` edited by hand went on without a word, although "bit for bit"."""
    folder = a_line(tmp_path / "run", 0, 64).folder
    path = folder / "config.json"
    path.write_text(path.read_text().replace('"discount": 0.9,', '"discount": 0.8,'))
    at = latest_checkpoint(folder)
    facts = json.loads((at / MANIFEST).read_text())
    older = Manifest(
        facts["step"],
        read_manifest(at / MANIFEST).files,
        facts["score"],
        made_with=facts["made_with"] | {"klamp": "0.0.1"},
    )
    (at / MANIFEST).write_text(older.to_json())
    with pytest.warns(klamp.KlampWarning) as said:
        klamp.resume(folder, steps=96, quiet=True)
    (text,) = (str(each.message) for each in said)
    assert "klamp was 0.0.1 and is " in text
    assert "discount was 0.9 and is 0.8" in text
    assert "steps" not in text.partition(":")[2]


def test_fewer_steps_than_are_made_are_refused(tmp_path: Path) -> None:
    run = a_line(tmp_path / "run", 1).folder
    before = files_of(run)
    with pytest.raises(klamp.ConfigError, match="`steps` is 100, but 160 steps are made already"):
        klamp.resume(run, steps=100, quiet=True)
    assert files_of(run) == before


@pytest.mark.parametrize("steps", [96, 320])
def test_a_schedule_does_not_jump_where_a_run_gets_other_steps(steps: int, tmp_path: Path) -> None:
    run = a_line(tmp_path / "run", 1, end=1e-5).folder
    with pytest.warns(klamp.KlampWarning) as said:
        result = klamp.resume(run / "checkpoints" / f"step_{64:012d}", steps=steps, quiet=True)
    assert "learning_rate to 1e-05) keeps to the 160 steps" in str(said[0].message)
    rates = [line["learning_rate"] for line in result.metrics]
    due = [3e-4 + (1e-5 - 3e-4) * min(step / 160, 1) for step in range(0, steps, 32)]
    np.testing.assert_allclose(rates, due, rtol=1e-5)
    # Nor where it goes on once more, or was given so many steps from the start.
    again = klamp.resume(run, steps=steps, quiet=True)
    whole = a_line(tmp_path / "whole", 1, steps, end=1e-5, over=160)
    assert without_times(again.metrics) == without_times(whole.metrics)
    assert states_of(run) == states_of(whole.folder)


def test_more_steps_at_a_learning_rate_of_nothing_are_refused(tmp_path: Path) -> None:
    run = a_line(tmp_path / "run", 1, end=0.0).folder
    before = files_of(run)
    with pytest.raises(klamp.ConfigError, match="falls to 0 by step 160 and stays there"):
        klamp.resume(run, steps=320, quiet=True)
    assert files_of(run) == before


def test_times_go_on_where_a_run_was_left(tmp_path: Path) -> None:
    run = a_line(tmp_path / "run", 1, steps=96).folder
    first = json.loads((run / "summary.json").read_text())
    saved = json.loads((run / "checkpoints/step_000000000096/MANIFEST.json").read_text())["spent"]
    result = klamp.resume(run, steps=192, quiet=True)
    times = [line["time_s"] for line in result.metrics]
    assert times == sorted(times)
    assert saved["wall_s"] < times[3] < result.summary["wall_s"]
    assert result.summary["compile_s"] > first["compile_s"] > 0
    # A kill loses the summary and what came after the checkpoint, and no more.
    (run / "summary.json").unlink()
    last = max((run / "checkpoints").glob("step_*"))
    kept = json.loads((last / "MANIFEST.json").read_text())["spent"]
    again = klamp.resume(run, quiet=True)
    assert again.summary["compile_s"] == result.summary["compile_s"] == kept["compile_s"]
    assert again.summary["wall_s"] > kept["wall_s"] > times[3]


def test_a_run_that_ends_on_a_full_disk_returns_what_it_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = a_line(tmp_path / "whole", 1)
    real = os.fsync

    def fsync(handle: int) -> None:
        lines = tmp_path / "run" / "metrics.jsonl"
        if lines.exists() and lines.read_bytes().count(b"\n") == 5:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(handle)

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.warns(klamp.KlampWarning, match="come to its end at step 160"):
        result = a_line(tmp_path / "run", 1)
    assert result.unsaved is not None
    monkeypatch.undo()
    np.testing.assert_array_equal(result.policy.theta, whole.policy.theta)
    lines = without_times(whole.metrics)
    assert without_times(result.metrics) == lines
    assert result.summary["step"] == 160
    # The disk holds the run up to where it was full, and it can be gone on with.
    again = klamp.resume(tmp_path / "run", quiet=True)
    assert again.unsaved is None
    assert without_times(again.metrics) == lines


@pytest.mark.filterwarnings("ignore::klamp.KlampWarning")
@pytest.mark.parametrize("room", [True, False])
def test_a_stopped_run_says_which_checkpoint_there_is(
    room: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SIGTERM in the third update, on a disk that may have been full since the second."""
    real_fsync, real_advance = os.fsync, klamp.training.iteration.Iteration.advance
    updates = [0]

    def fsync(handle: int) -> None:
        if updates[0] > 1 and not room:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real_fsync(handle)

    def advance(*parts: Any) -> Any:
        updates[0] += 1
        if updates[0] == 3:
            os.kill(os.getpid(), signal.SIGTERM)
        return real_advance(*parts)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(klamp.training.iteration.Iteration, "advance", advance)
    with pytest.raises(klamp.Stopped) as stopped:
        a_line(tmp_path / "run", 1)
    latest = latest_checkpoint(tmp_path / "run").name
    said = str(stopped.value)
    if room:
        assert said.startswith("SIGTERM: saved at step 64; go on with: klamp.resume(")
        assert (latest, stopped.value.code) == (f"step_{64:012d}", 128 + signal.SIGTERM)
        assert stopped.value.result is None
    else:
        assert said.startswith(
            "SIGTERM: step 64 could NOT be saved (No space left on device); the last good one is "
            "of step 32; go on with: klamp.resume("
        )
        assert (latest, stopped.value.code) == (f"step_{32:012d}", 74)
        # What was trained is in memory, though not on the disk.
        result = stopped.value.result
        assert [line["step"] for line in result.metrics] == [32, 64]
        assert result.summary["step"] == 64
