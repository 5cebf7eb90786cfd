"""Weights & Biases, by a stand-in: nothing is sent anywhere."""

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from klamp.config.algorithms import PPO
from klamp.config.run import RunConfig
from klamp.errors import ConfigError
from klamp.reporting.wandb import WandbLog

CONFIG = RunConfig("CartPole-v1", PPO())


class Wandb:
    """What of the package is used, and what it was told."""

    def __init__(self) -> None:
        self.inits: list[dict[str, Any]] = []
        self.sent: list[tuple[dict[str, Any], int]] = []
        self.summary: dict[str, Any] = {}
        self.finished = 0

    def init(self, **settings: Any) -> "Wandb":
        self.inits.append(settings)
        return self

    def log(self, values: dict[str, Any], *, step: int) -> None:
        self.sent.append((values, step))

    def finish(self) -> None:
        self.finished += 1


def event(folder: Path, step: int) -> Any:
    metrics = {"step": step, "kl": 0.5, "return_mean": None, "outcome": "ACCEPTED"}
    return SimpleNamespace(config=CONFIG, folder=folder, metrics=metrics)


def test_one_run_that_a_resumed_run_goes_on_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    library = Wandb()
    monkeypatch.setitem(sys.modules, "wandb", library)
    for steps in ((8, 16), (24,)):
        log = WandbLog()
        log.close()
        for step in steps:
            log.update(event(tmp_path, step))
        log.finish({"return_mean": 3.0, "kl": float("nan")})
        log.close()
    first, second = library.inits
    assert first == second
    assert first["config"] == CONFIG.to_dict()
    assert first["dir"] == str(tmp_path)
    assert [step for _, step in library.sent] == [8, 16, 24]
    assert library.sent[0][0] == {"step": 8, "kl": 0.5, "outcome": "ACCEPTED"}
    assert library.summary == {"return_mean": 3.0, "kl": None}
    assert library.finished == 2


def test_another_run_is_another_one_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    library = Wandb()
    monkeypatch.setitem(sys.modules, "wandb", library)
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        WandbLog().update(event(tmp_path / name, 8))
    assert library.inits[0]["id"] != library.inits[1]["id"]


def test_without_the_package_its_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(ConfigError, match=r"`wandb`.*pip install '\.\[wandb\]'"):
        WandbLog()
