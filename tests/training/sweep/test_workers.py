"""Workers that are killed: no trial is lost, none has two results, and the values are the same."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from sweeps import SMALL, SPACE, file_of, needs_optuna, small_plan

from klamp.config.search_space import as_toml
from klamp.envs.source import resolve
from klamp.runtime.signals import Signals
from klamp.training.sweep.presence import presence_of
from klamp.training.sweep.study import Study, Trial
from klamp.training.sweep.workers import study_name, task_of, work, work_side_by_side

needs_optuna()
SPACE_FILE = "space.toml"
SOURCE = resolve("CartPole-v1")


def trials_of(out: Path) -> list[Trial]:
    presence = presence_of(file_of(out), study_name(out))
    try:
        return Study(file_of(out), study_name(out), small_plan(), presence).trials()
    finally:
        presence.close()


@pytest.mark.slow
def test_one_worker_runs_all_trials(tmp_path: Path) -> None:
    heard: list[tuple[str, int]] = []
    task = task_of(small_plan(), tmp_path, file_of(tmp_path), 2, "auto", SOURCE)
    work(task, lambda kind, number, share, mean: heard.append((kind, number)))
    assert [trial.state for trial in trials_of(tmp_path)] == ["complete", "complete"]
    told = [word for word in heard if word[0] != "update"]
    assert told == [("begun", 0), ("ended", 0), ("begun", 1), ("ended", 1)]


@pytest.mark.slow
def test_a_fault_is_told_once(tmp_path: Path) -> None:
    """Both workers find the same."""
    (tmp_path / "file").write_text("")
    url = file_of(tmp_path / "file")
    task = task_of(small_plan(), tmp_path, url, 2, "auto", SOURCE)
    (said,) = work_side_by_side(task, 2, lambda *_: None, Signals())
    assert "sweep.db.locks cannot be written" in said


@pytest.mark.slow
def test_killed_at_random_moments_and_continued(tmp_path: Path) -> None:
    """SIGKILL of the whole command, or of its processes but the first; then the same command."""
    (tmp_path / "space.toml").write_text(as_toml(SPACE))
    settings = [f"{name} = {list(v) if isinstance(v, tuple) else v}" for name, v in SMALL.items()]
    (tmp_path / "small.toml").write_text("\n".join(settings))

    def command(out: str) -> subprocess.Popen[bytes]:
        words = f"sweep CartPole-v1 --trials 6 --jobs 1 --config small.toml --out {out}".split()
        return subprocess.Popen(
            [sys.executable, "-m", "klamp", *words, "--space", "space.toml", "--quiet"],
            cwd=tmp_path,
            start_new_session=True,
            stdout=subprocess.DEVNULL,
        )

    assert command("calm").wait() == 0
    draw = random.Random(0)
    # Killed a moment after a trial began, another one each time, so that no machine is too fast
    # or too slow for it.
    for trial in range(5):
        running = command("killed")
        while not (tmp_path / f"killed/trials/{trial:04}/seed-1000/metrics.jsonl").exists():
            assert running.poll() is None
            time.sleep(0.01)
        time.sleep(draw.uniform(0, 0.2))
        assert running.poll() is None
        os.killpg(running.pid, signal.SIGKILL)
        running.wait()
    assert command("killed").wait() == 0
    calm, killed = trials_of(tmp_path / "calm"), trials_of(tmp_path / "killed")
    assert len(calm) == 6
    assert [trial._replace(lost=0) for trial in killed] == calm


@pytest.mark.slow
def test_ctrl_c_saves_and_says_what_to_type(tmp_path: Path) -> None:
    words = f"sweep CartPole-v1 --trials 2 --jobs 1 --out s --steps 1000000 --space {SPACE_FILE}"
    (tmp_path / SPACE_FILE).write_text(as_toml(SPACE))
    # Where the tests run in the background, Ctrl-C is ignored, also by what they start: not here.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    running = subprocess.Popen(
        [sys.executable, "-m", "klamp", *words.split()],
        cwd=tmp_path,
        start_new_session=True,
        stderr=subprocess.PIPE,
        text=True,
    )
    signal.signal(signal.SIGINT, before)
    while not list((tmp_path / "s").glob("trials/0000/seed-1000/metrics.jsonl")):
        time.sleep(0.1)
        assert running.poll() is None
    # A terminal sends it to all of them.
    os.killpg(running.pid, signal.SIGINT)
    _, said = running.communicate()
    assert running.returncode == 130
    assert said.splitlines()[-1] == (
        "klamp: SIGINT: 0 of 2 trials have ended, and those that were running go on from their "
        f"last checkpoints; go on with the same command: klamp {words}"
    )
    assert list((tmp_path / "s").glob("trials/0000/seed-1000/checkpoints/step_*"))
