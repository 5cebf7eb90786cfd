"""Many seeds at once: each run is the run of its seed alone, in a folder of its own."""

import io
import os
import signal
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import klamp
from klamp.report import Progress
from klamp.seeds import count_up, train_seeds

SMALL: dict[str, Any] = {"num_envs": 2, "rollout_length": 16, "hidden_sizes": (4,)}
PPO = klamp.PPO(epochs=1, minibatch_size=16)


def test_each_run_is_that_of_its_seed_alone(tmp_path: Path) -> None:
    folders = train_seeds(
        "CartPole-v1", PPO, seeds=[3, 4, 5], workers=2, out=tmp_path, quiet=True, steps=128, **SMALL
    )
    assert [folder.name for folder in folders] == ["seed-3", "seed-4", "seed-5"]
    # The third run had what the first one compiled.
    alone = klamp.train(
        "CartPole-v1", PPO, seed=5, out=tmp_path / "alone", quiet=True, steps=128, **SMALL
    )
    assert np.array_equal(klamp.load(folders[2]).theta, alone.policy.theta)
    assert not np.array_equal(klamp.load(folders[1]).theta, alone.policy.theta)


def test_a_folder_that_is_taken_stops_all_before_any_begins(tmp_path: Path) -> None:
    (tmp_path / "seed-1").mkdir()
    (tmp_path / "seed-1" / "mine").write_text("")
    with pytest.raises(klamp.RunFolderError, match="seed-1 cannot become"):
        train_seeds("CartPole-v1", PPO, seeds=3, out=tmp_path, quiet=True, **SMALL)
    assert [path.name for path in tmp_path.iterdir()] == ["seed-1"]


@pytest.mark.parametrize("number", [0, -1, True])
def test_how_many_is_checked(number: int) -> None:
    with pytest.raises(klamp.ConfigError, match="`seeds` is"):
        count_up(0, number)


def test_a_signal_saves_every_run_that_had_begun(tmp_path: Path) -> None:
    def ask() -> None:
        while len(list(tmp_path.glob("seed-*/checkpoints/step_*"))) < 2:
            stopped.wait(0.05)
        os.kill(os.getpid(), signal.SIGTERM)

    stopped = threading.Event()
    threading.Thread(target=ask, daemon=True).start()
    with pytest.raises(klamp.Stopped, match="SIGTERM: every run that had begun was saved"):
        train_seeds(
            "CartPole-v1", PPO, seeds=2, workers=2, out=tmp_path, quiet=True, steps=10**9, **SMALL
        )
    for seed in (0, 1):
        policy = klamp.load(tmp_path / f"seed-{seed}")
        assert np.isfinite(policy.theta).all()


def test_progress_is_one_line_about_all() -> None:
    said = io.StringIO()
    progress = Progress(klamp.RunConfig("CartPole-v1", PPO, klamp.Settings(steps=4096)), 2, said)
    progress.hear("update", 0, 50, None)
    progress.hear("done", 1, 100, 20.0)
    (line,) = said.getvalue().splitlines()
    assert line.startswith("1 of 2 runs done · step 150 of 8,192 · ")
    assert "returns 20.0 (20.0 to 20.0)" in line
