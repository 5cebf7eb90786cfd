"""A reporter that tells nothing."""

import pytest

from klamp.config.algorithms import PPO
from klamp.config.run import RunConfig
from klamp.config.settings import Settings
from klamp.reporting.reporter import Silent

CONFIG = RunConfig("CartPole-v1", PPO(), Settings(steps=1000, num_envs=2))
METRICS = {
    "step": 500,
    "return_mean": 21.5,
    "steps_per_second": 100.0,
    "kl": 0.0123,
    "outcome": "ACCEPTED",
}
SUMMARY = METRICS | {"episodes": 7, "wall_s": 61.0, "compile_s": 1.5, "folder": "runs/x"}


def test_silence(capsys: pytest.CaptureFixture[str]) -> None:
    silent = Silent()
    silent.start(CONFIG, "runs/x")
    silent.update(METRICS)
    silent.finish(SUMMARY)
    silent.stop()
    assert capsys.readouterr() == ("", "")
