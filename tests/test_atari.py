"""Atari for real, where ale-py is installed: trained, resumed to the byte, evaluated, by name."""

import importlib.util
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import klamp
from klamp.cli.main import main
from klamp.config.environment_name import WRAPPERS
from klamp.config.presets import configure
from klamp.config.run import RunConfig

SMALL: dict[str, Any] = {
    "num_envs": 2, "rollout_length": 32, "minibatch_size": 32, "epochs": 1, "quiet": True,
    "checkpoint_interval": 128,
}  # fmt: skip
SHORT = [*WRAPPERS["ALE"], "time-limit=20"]


def test_every_game_has_the_usual_settings_and_wrappers(capsys: pytest.CaptureFixture[str]) -> None:
    config = configure("ALE/Breakout-v5", "ppo", {})
    algorithm, settings = config.algorithm, config.settings
    assert (settings.num_envs, settings.rollout_length, settings.shared_network) == (8, 128, True)
    assert algorithm == klamp.PPO(
        clip=0.1, epochs=4, minibatch_size=256, learning_rate=2.5e-4, final_learning_rate=0.0,
        entropy_coefficient=0.01,
    )  # fmt: skip
    assert not settings.normalize_observation
    assert main(["train", "ALE/Pong-v5", "--dry-run"]) == 0
    assert 'wrappers = ["atari", "frame-stack=4", "sign-reward"]' in capsys.readouterr().out
    assert main(["presets", "ALE/Pong-v5"]) == 0
    assert "sign-reward" in capsys.readouterr().out


def test_an_empty_list_of_wrappers_is_none_of_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def told(*words: str) -> str:
        assert main(["train", "--dry-run", *words]) == 0
        return capsys.readouterr().out

    bare = configure("ALE/Pong-v5", "ppo", {})
    (tmp_path / "config.json").write_text(json.dumps(bare.to_dict()))
    (tmp_path / "short.toml").write_text('env = "ALE/Pong-v5"')
    for words in (["--config", str(tmp_path / "config.json")], ["ALE/Pong-v5", "--wrappers"]):
        assert "wrappers = []\n" in told(*words)
    assert "frame-stack=4" in told("--config", str(tmp_path / "short.toml"))
    assert RunConfig.from_dict(bare.to_dict()) == bare


def test_what_is_missing_is_said_with_what_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ale_py", None)
    with pytest.raises(klamp.EnvironmentFault, match=r"Do `pip install '\.\[atari\]'`"):
        klamp.train("ALE/Pong-v5", steps=1024)


@pytest.mark.compiles
@pytest.mark.skipif(
    not all(map(importlib.util.find_spec, ("ale_py", "cv2"))),
    reason="ale-py and OpenCV (the extra `atari`) are not installed",
)
def test_pong_is_trained_resumed_to_the_byte_and_evaluated(tmp_path: Path) -> None:
    given: dict[str, Any] = SMALL | {"wrappers": SHORT}
    whole = klamp.train("ALE/Pong-v5", steps=256, out=tmp_path / "whole", **given)
    assert whole.policy.observation_space.shape == (4, 84, 84)
    klamp.train("ALE/Pong-v5", steps=128, schedule_steps=256, out=tmp_path / "part", **given)
    part = klamp.resume(tmp_path / "part", steps=256, quiet=True)
    theta, other = (np.asarray(run.policy.theta) for run in (whole, part))
    assert theta.tobytes() == other.tobytes()
    assert len(theta) < 2_000_000, "one network of convolutions for policy and critic"
    done = klamp.evaluate(klamp.load(part.folder), episodes=2)
    assert list(done.lengths) == [20, 20]
    assert set(done.returns) <= set(range(-20, 21))
