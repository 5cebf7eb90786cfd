"""A trial: its runs are runs like any other, and its value is a function of their metrics."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sweeps import file_of, needs_optuna, small_plan

from klamp.config.run import RunConfig
from klamp.envs.source import resolve
from klamp.errors import KlampError, ReporterFault, RunFolderError
from klamp.runs.metrics_log import read_metrics
from klamp.training.sweep.plan import objective
from klamp.training.sweep.presence import presence_of
from klamp.training.sweep.study import Claimed, Study
from klamp.training.sweep.trial import run_folder, run_trial

needs_optuna()
SOURCE = resolve("CartPole-v1")
PLAN = small_plan()


@pytest.fixture
def study(tmp_path: Path) -> Iterator[Study]:
    presence = presence_of(file_of(tmp_path), "sweep")
    yield Study(file_of(tmp_path), "sweep", PLAN, presence)
    presence.close()


def run(study: Study, out: Path, hear: Any = lambda *_: None) -> None:
    trial = study.claim(9)
    assert isinstance(trial, Claimed)
    run_trial(study, trial, PLAN, out, source=SOURCE, hear=hear)


def test_a_trial_has_the_value_of_its_metrics(study: Study, tmp_path: Path) -> None:
    heard: list[float] = []
    run(study, tmp_path, lambda number, share, mean: heard.append(share))
    folder = run_folder(tmp_path, 0, 1000)
    (trial,) = study.trials()
    assert trial.state == "complete"
    assert trial.value == objective(read_metrics(folder / "metrics.jsonl"))
    assert heard[-1] == 1.0


def test_a_run_that_has_ended_is_not_trained_again(
    study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its worker was killed before it could tell the result."""
    with monkeypatch.context() as patched:
        patched.setattr(Study, "end", lambda *_, **__: False)
        run(study, tmp_path)
    assert study.trials()[0].state == "running"
    trial = study._given(0)
    monkeypatch.setattr("klamp.training.sweep.trial.resume_one", None)
    run_trial(study, trial, PLAN, tmp_path, source=SOURCE, hear=lambda *_: None)
    assert study.trials()[0].state == "complete"


def test_a_run_that_is_worse_is_pruned(
    study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Study, "report", lambda self, claimed, point, value: point >= 3)
    run(study, tmp_path)
    (trial,) = study.trials()
    assert (trial.state, trial.value) == ("pruned", None)
    lines = read_metrics(run_folder(tmp_path, 0, 1000) / "metrics.jsonl")
    assert lines[-1]["step"] == 96


def test_settings_that_clash_are_a_failed_trial(
    study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trial = study.claim(9)
    assert isinstance(trial, Claimed)
    monkeypatch.setattr(type(PLAN), "config", _clash)
    run_trial(study, trial, PLAN, tmp_path, source=SOURCE, hear=lambda *_: None)
    assert study.trials()[0].why == "they clash"


def _clash(self: Any, tried: Any, seed: int) -> RunConfig:
    raise KlampError("they clash")


def test_what_the_disk_or_the_storage_does_is_no_failed_trial(
    study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(Study, "report", _away)
        with pytest.raises(ReporterFault, match="the server is gone"):
            run(study, tmp_path)
    folder = run_folder(tmp_path, 1, 1000)
    folder.mkdir(parents=True)
    (folder / "something.txt").write_text("of a person's own")
    with pytest.raises(RunFolderError):
        run(study, tmp_path)
    assert [trial.state for trial in study.trials()] == ["running", "running"]


def _away(self: Study, claimed: Claimed, point: int, value: float) -> bool:
    raise OSError("the server is gone")
