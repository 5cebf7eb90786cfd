"""A whole sweep in Python, gone on with, and what is said of mistakes."""

import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from sweeps import SMALL, SPACE, needs_optuna

import klamp


def test_without_optuna(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(klamp.ConfigError, match=r"`pip install '\.\[sweep\]'`"):
        klamp.sweep("CartPole-v1", trials=1, out=tmp_path / "sweep")
    assert not (tmp_path / "sweep").exists()


@pytest.mark.slow
def test_a_sweep_goes_on(tmp_path: Path) -> None:
    needs_optuna()
    given: dict[str, Any] = {"space": SPACE, "out": tmp_path / "s", "quiet": True, "jobs": 1}
    first = klamp.sweep("CartPole-v1", trials=1, **given, **SMALL)
    assert first.best.number == 0
    done = klamp.sweep("CartPole-v1", "ppo", trials=2, **given, **SMALL)
    assert [trial.number for trial in done.trials] == [0, 1]
    assert done.trials[0] == first.best
    assert done.best.value == max(trial.value or 0.0 for trial in done.trials)
    assert done.config.settings.seed == 0
    assert tomllib.loads((tmp_path / "s" / "best.toml").read_text())["steps"] == 256
    assert "klamp sweep: CartPole-v1, ppo" in (tmp_path / "s" / "sweep.html").read_text()
    assert "--seeds 10" in str(done)
    # All have ended: nothing begins.
    assert klamp.sweep("CartPole-v1", trials=2, **given, **SMALL).trials == done.trials
    with pytest.raises(klamp.ConfigError, match="holds another sweep"):
        klamp.sweep("CartPole-v1", trials=2, **given, **{**SMALL, "steps": 512})


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"trials": 0}, "`trials` is 0"),
        ({"trials": 1, "jobs": 0}, "`jobs` is 0"),
        ({"trials": 1, "space": {}}, "no setting"),
        ({"trials": 1, "algorithm": "pp"}, "Did you mean `ppo"),
        ({"trials": 1, "storage": "mysql://a/b"}, "PostgreSQL"),
        ({"trials": 1, "seed": 3}, "`seed`"),
        ({"trials": 1, "space": {"clip": klamp.Choice((0.1,))}, "clip": 0.1}, "`clip` is given"),
    ],
)
def test_mistakes(given: dict[str, Any], said: str, tmp_path: Path) -> None:
    needs_optuna()
    with pytest.raises(klamp.ConfigError, match=said):
        klamp.sweep("CartPole-v1", out=tmp_path / "s", quiet=True, **given)


def test_the_folder_of_a_run_is_none_of_a_sweep(tmp_path: Path) -> None:
    needs_optuna()
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(klamp.RunFolderError, match="is the folder of a run"):
        klamp.sweep("CartPole-v1", trials=1, out=tmp_path, quiet=True)
