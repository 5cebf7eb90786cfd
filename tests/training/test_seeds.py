"""Many seeds at once: each run is the run of its seed alone, in a folder of its own."""

import os
import signal
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import klamp
from klamp.cli.main import main
from klamp.runs.folder import read_config
from klamp.runs.metrics_log import read_metrics
from klamp.runtime.signals import GRACE_S, Signals
from klamp.training.seeds import count_up, train_seeds
from klamp.training.seeds_processes import LEAVE_S

SMALL: dict[str, Any] = {"num_envs": 2, "rollout_length": 16, "hidden_sizes": (4,)}
PPO = klamp.PPO(epochs=1, minibatch_size=16)


@pytest.mark.slow
def test_each_run_is_that_of_its_seed_alone(tmp_path: Path) -> None:
    folders = train_seeds(
        "CartPole-v1",
        PPO,
        seeds=[3, 4, 5],
        workers=2,
        out=tmp_path,
        quiet=True,
        report=["csv"],
        steps=128,
        **SMALL,
    )
    assert [folder.name for folder in folders] == ["seed-3", "seed-4", "seed-5"]
    for folder in folders:
        rows = (folder / "metrics.csv").read_text().splitlines()
        assert len(rows) == 1 + len(read_metrics(folder / "metrics.jsonl"))
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


def test_callbacks_are_refused_before_anything_is_made(tmp_path: Path) -> None:
    for report, said in ((print, "only csv, episodes, tensorboard, wandb: "), ("csw", "`csv`")):
        given: Any = [report]
        with pytest.raises(klamp.ConfigError, match=said):
            train_seeds("CartPole-v1", PPO, seeds=2, out=tmp_path / "runs", report=given, **SMALL)
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("number", [0, -1, True])
def test_how_many_is_checked(number: int) -> None:
    with pytest.raises(klamp.ConfigError, match="`seeds` is"):
        count_up(0, number)


def test_a_signal_saves_every_run_that_had_begun(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Signals] = []
    check = Signals.check
    monkeypatch.setattr(Signals, "check", lambda self: (asked.append(self), check(self))[1])

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
    # Who waits for the processes does not leave before they may, and then claims nothing.
    assert asked[-1].grace_s > LEAVE_S > GRACE_S
    last = asked[-1].last_resort(signal.SIGTERM)
    assert not last.saved
    assert "not every process has said that its run was saved" in str(last)


DEADLY = """
import multiprocessing, os
from pathlib import Path
import gymnasium
from gymnasium.envs.classic_control import CartPoleEnv

class Deadly(CartPoleEnv):
    steps = 0

    def step(self, action):
        Deadly.steps += 1
        if Deadly.steps == 300 and multiprocessing.parent_process():
            for order in Path({orders!r}).iterdir():
                order.unlink()
                os.kill(os.getpid(), 9)
        return super().step(action)

gymnasium.register("Deadly-v0", Deadly, max_episode_steps=50)
"""


@pytest.fixture
def orders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """For each file in it, a process that steps `deadly:Deadly-v0` dies at its 300th step."""
    folder = tmp_path / "orders"
    folder.mkdir()
    (tmp_path / "deadly.py").write_text(DEADLY.format(orders=str(folder)))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "deadly", raising=False)
    return folder


LENGTH: dict[str, Any] = {"steps": 512, "checkpoint_interval": 64}


def deadly(out: Path, **changes: Any) -> list[Path]:
    settings = SMALL | LENGTH | changes
    return train_seeds("deadly:Deadly-v0", PPO, seeds=3, workers=1, out=out, quiet=True, **settings)


def content(folder: Path) -> list[Any]:
    """What must not depend on how a run came to its end."""
    lines = read_metrics(folder / "metrics.jsonl")
    times = ("time_s", "steps_per_second")
    kept = [{name: line[name] for name in line if name not in times} for line in lines]
    last = sorted((folder / "checkpoints").iterdir())[-1]
    return [kept, last.name, (last / "tensors.safetensors").read_bytes()]


@pytest.mark.slow
def test_a_process_that_dies_loses_the_seed_it_trained_and_the_same_command_goes_on(
    orders: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    for order in ("a", "b"):
        (orders / order).touch()
    with pytest.raises(klamp.KlampError) as caught:
        deadly(out)
    said = str(caught.value)
    assert said.startswith("2 of 3 runs failed. Seed 0: its process was killed by SIGKILL; ")
    assert f"{out / 'seed-1'} is unfinished. Go on with" in said
    assert said.endswith("by the same call")
    assert [(out / f"seed-{n}" / "summary.json").exists() for n in range(3)] == [False, False, True]
    # What another configuration left is refused, and nothing is touched.
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    with pytest.raises(klamp.RunFolderError, match="`steps` is 512 there and 1024 here"):
        deadly(out, steps=1024)
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*")} == before
    # The seed that dies again keeps no other from going on, and is not tried for ever.
    for order in ("a", "b", "c"):
        (orders / order).touch()
    with pytest.raises(klamp.KlampError, match=r"1 of 3 runs failed\. Seed 1: "):
        deadly(out)
    assert len(list(orders.iterdir())) == 2
    for order in orders.iterdir():
        order.unlink()
    finished = {path: path.stat().st_mtime_ns for path in (out / "seed-2").rglob("*")}
    assert main(["resume", str(out), "--quiet"]) == 0
    assert {path: path.stat().st_mtime_ns for path in (out / "seed-2").rglob("*")} == finished
    assert deadly(out) == [out / f"seed-{n}" for n in range(3)]
    for seed, run in enumerate(deadly(out)):
        # In this process nobody dies.
        undisturbed = {"out": tmp_path / f"undisturbed-{seed}", "seed": seed, "quiet": True}
        klamp.train("deadly:Deadly-v0", PPO, **SMALL, **LENGTH, **undisturbed)
        assert content(run) == content(tmp_path / f"undisturbed-{seed}")


@pytest.mark.slow
def test_a_folder_of_seeds_is_gone_on_with_by_its_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """All its runs, also to more steps; of those that differ in more than the seed, none.

    What a run warns of is warned of here, not by the process that trains it, in words of its own.
    """
    monkeypatch.setattr("klamp.training.seeds.cores", lambda: 1)
    small = "--num-envs 2 --rollout-length 16 --hidden-sizes 4 --epochs 1 --minibatch-size 16"
    given = ["CartPole-v1", "--seeds", "2", "--steps", "64", "--out", str(tmp_path)]
    given += [*small.split(), "--quiet", "--final-learning-rate", "1e-4"]
    assert main(["train", *given]) == 0
    with pytest.warns(klamp.KlampWarning, match="keeps to the 64 steps"):
        assert main(["resume", str(tmp_path), "--steps", "128", "--quiet"]) == 0
    for seed in (0, 1):
        assert read_metrics(tmp_path / f"seed-{seed}" / "metrics.jsonl")[-1]["step"] == 128
        assert read_config(tmp_path / f"seed-{seed}").settings.steps == 128
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.*")}
    capsys.readouterr()
    assert main(["resume", str(tmp_path), "--steps", "64", "--quiet"]) == 2
    assert "`steps` is 64, but 128 steps are made already" in capsys.readouterr().err
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.*")} == before
    config = tmp_path / "seed-1" / "config.json"
    config.write_text(config.read_text().replace('"clip": 0.2', '"clip": 0.1'))
    capsys.readouterr()
    assert main(["resume", str(tmp_path)]) == 2
    assert "differ in more than their seed" in capsys.readouterr().err
