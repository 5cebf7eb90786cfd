"""Processes that take one seed after the other: what happens where one of them does not."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

import klamp
from klamp.envs.source import resolve
from klamp.runs.folder import locked, write_config
from klamp.runs.metrics_log import read_metrics
from klamp.runtime.signals import Signals
from klamp.training import seeds_processes
from klamp.training.seeds_processes import Plan, SeedsNotSaved, train_side_by_side

SOURCE = resolve("CartPole-v1")
ENDLESS = klamp.Settings(
    steps=10**9, num_envs=2, rollout_length=16, hidden_sizes=(4,), checkpoint_interval=64
)


def plans(folder: Path, count: int) -> list[Plan]:
    made: list[Plan] = []
    for seed in range(count):
        settings = replace(ENDLESS, seed=seed)
        config = klamp.RunConfig("CartPole-v1", klamp.PPO(epochs=1, minibatch_size=16), settings)
        with locked(folder / f"seed-{seed}"):
            write_config(folder / f"seed-{seed}", config)
        made.append((config, folder / f"seed-{seed}"))
    return made


def pid_of_the_process_in(folder: Path) -> int:
    """Once it has saved something."""
    while len(list((folder / "checkpoints").glob("step_*"))) < 3:
        time.sleep(0.05)
    return json.loads((folder / ".owner.json").read_text())["pid"]


def ignore(*word: Any) -> None:
    """Nobody is told."""


def test_processes_that_cannot_begin_are_not_replaced_for_ever(tmp_path: Path) -> None:
    left = train_side_by_side(plans(tmp_path, 3), SOURCE, 2, "no such device", ignore, Signals())
    assert left.failed == ["A process ended with 1."] * 2
    assert left.not_begun == [0, 1, 2]


def test_what_was_not_saved_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that does not answer the signal."""
    monkeypatch.setattr(seeds_processes, "LEAVE_S", 0.5)

    def stop() -> None:
        os.kill(pid_of_the_process_in(tmp_path / "seed-0"), signal.SIGSTOP)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=stop, daemon=True).start()
    with Signals() as signals, pytest.raises(SeedsNotSaved) as caught:
        train_side_by_side(plans(tmp_path, 1), SOURCE, 1, "auto", ignore, signals)
    assert caught.value.seeds == [0]


SCRIPT = """
import klamp, sys
if __name__ == "__main__":
    klamp.train_seeds("CartPole-v1", klamp.PPO(epochs=1, minibatch_size=16), seeds=1, quiet=True,
        out=sys.argv[1], steps=10**9, num_envs=2, rollout_length=16, hidden_sizes=(4,))
"""


@pytest.mark.slow
def test_where_the_command_is_killed_its_processes_save_and_go(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    command = [sys.executable, str(script), str(tmp_path)]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as parent:
        lines = tmp_path / "seed-0" / "metrics.jsonl"
        while not (lines.exists() and len(read_metrics(lines)) > 3):
            time.sleep(0.05)
        worker = psutil.Process(
            json.loads((tmp_path / "seed-0" / ".owner.json").read_text())["pid"]
        )
        parent.kill()
    worker.wait()
    last = sorted((tmp_path / "seed-0" / "checkpoints").iterdir())[-1]
    assert int(last.name[5:]) == read_metrics(lines)[-1]["step"]
