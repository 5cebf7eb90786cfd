"""Many seeds as one program: each run is the run of its seed alone, to rounding."""

import os
import shutil
import signal
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from jax_environments import CartPole

import klamp
from klamp.envs.source import resolve
from klamp.runs.metrics_log import read_metrics
from klamp.training import refusals, seeds

SMALL: dict[str, Any] = {
    "num_envs": 2,
    "rollout_length": 16,
    "hidden_sizes": (4,),
    "normalize_observation": True,
    "normalize_reward": True,
    "quiet": True,
}
PPO = klamp.PPO(epochs=2, minibatch_size=16, target_kl=0.02)
TRPO = klamp.TRPO()


@pytest.mark.compiles
@pytest.mark.parametrize("algorithm", [PPO, TRPO], ids=["ppo", "trpo"])
def test_each_run_is_that_of_its_seed_alone(tmp_path: Path, algorithm: Any) -> None:
    settings = SMALL | {"steps": 256, "checkpoint_interval": 128, "dropout": 0.1}
    folders = klamp.train_seeds(
        CartPole(limit=20), algorithm, seeds=[3, 4, 5], out=tmp_path, **settings
    )
    assert [folder.name for folder in folders] == ["seed-3", "seed-4", "seed-5"]
    for seed, folder in zip((3, 4, 5), folders, strict=True):
        alone = klamp.train(
            CartPole(limit=20), algorithm, seed=seed, out=tmp_path / f"alone-{seed}", **settings
        )
        together = read_metrics(folder / "metrics.jsonl")
        assert len(together) == len(alone.metrics) == 8
        for ours, theirs in zip(together, alone.metrics, strict=True):
            for name in ("step", "episodes", "return_mean", "length_mean", "outcome"):
                assert ours[name] == theirs[name], name
            for name in ("kl", "entropy", "value_loss", "surrogate_after"):
                assert ours[name] == pytest.approx(theirs[name], rel=2e-3, abs=2e-5), name
        theta = klamp.load(folder, environment=CartPole(limit=20)).theta
        np.testing.assert_allclose(theta, alone.policy.theta, atol=2e-4)
        names = [path.name for path in (folder / "checkpoints").iterdir()]
        assert sorted(names) == sorted(
            path.name for path in (alone.folder / "checkpoints").iterdir()
        )
        assert (folder / "summary.json").exists()


@pytest.mark.compiles
def test_a_run_of_them_goes_on_alone(tmp_path: Path) -> None:
    folders = klamp.train_seeds(CartPole(), PPO, seeds=2, out=tmp_path, steps=64, **SMALL)
    more = klamp.resume(folders[1], steps=128, quiet=True, environment=CartPole())
    assert more.summary["step"] == 128


@pytest.mark.compiles
@pytest.mark.parametrize("interrupted", [(0, 1), (1,)])
def test_the_same_call_goes_on_with_what_is_missing(
    tmp_path: Path, interrupted: tuple[int, ...]
) -> None:
    """As far as each run was saved; those that have ended stay as they are."""

    def call() -> list[Any]:
        settings = SMALL | {"steps": 96, "checkpoint_interval": 32}
        folders = klamp.train_seeds(CartPole(), PPO, seeds=2, out=tmp_path, **settings)
        return [klamp.load(folder, environment=CartPole()).theta for folder in folders]

    expected = call()
    for seed in interrupted:
        (tmp_path / f"seed-{seed}" / "summary.json").unlink()
        shutil.rmtree(tmp_path / f"seed-{seed}" / "checkpoints" / f"step_{96:012d}")
    for found, theta in zip(call(), expected, strict=True):
        # The program of one run adds up in another order than that of two.
        np.testing.assert_allclose(found, theta, atol=0 if len(interrupted) == 2 else 1e-4)
    for seed in (0, 1):
        lines = read_metrics(tmp_path / f"seed-{seed}" / "metrics.jsonl")
        assert [line["step"] for line in lines] == [32, 64, 96]
        assert (tmp_path / f"seed-{seed}" / "summary.json").exists()


class Spoilt(CartPole):
    """Shows NaN where the first draw of an episode is below some bound."""

    def reset(self, key: Any) -> tuple:
        state, seen = super().reset(key)
        return state, jax.numpy.where(seen[0] < self.bound, np.nan, seen)

    def __init__(self, bound: float) -> None:
        super().__init__()
        self.bound = bound


@pytest.mark.compiles
def test_a_run_that_is_given_up_leaves_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Episodes are broken by chance, which the check before training would find."""
    monkeypatch.setattr(seeds, "check_environment", lambda *_: None)
    monkeypatch.setattr(refusals, "REFUSALS", 3)
    settings = SMALL | {"num_envs": 1, "normalize_observation": False, "steps": 16 * 14}
    with pytest.raises(klamp.KlampError, match=r"of 4 runs failed\. Seed") as raised:
        klamp.train_seeds(Spoilt(-0.025), PPO, seeds=4, out=tmp_path, **settings)
    failed = {seed for seed in range(4) if f"Seed {seed}:" in str(raised.value)}
    assert 0 < len(failed) < 4
    for seed in range(4):
        finished = (tmp_path / f"seed-{seed}" / "summary.json").exists()
        assert finished is (seed not in failed)
        policy = klamp.load(tmp_path / f"seed-{seed}", environment=Spoilt(-0.025))
        assert np.isfinite(policy.theta).all()


@pytest.mark.compiles
def test_a_signal_saves_all(tmp_path: Path) -> None:
    def ask() -> None:
        while sum(path.stat().st_size > 0 for path in tmp_path.glob("*/metrics.jsonl")) < 2:
            stopped.wait(0.05)
        os.kill(os.getpid(), signal.SIGTERM)

    stopped = threading.Event()
    threading.Thread(target=ask, daemon=True).start()
    with pytest.raises(klamp.Stopped, match="SIGTERM: every run that had begun was saved"):
        klamp.train_seeds(CartPole(), PPO, seeds=2, out=tmp_path, steps=10**9, **SMALL)
    for seed in (0, 1):
        folder = tmp_path / f"seed-{seed}"
        line = read_metrics(folder / "metrics.jsonl")[-1]
        again = klamp.resume(folder, steps=line["step"] + 32, quiet=True, environment=CartPole())
        assert again.summary["step"] == line["step"] + 32


@pytest.mark.parametrize(("cpu", "expected"), [(True, False), (False, True)])
def test_ids_become_one_program_on_a_gpu_only(
    monkeypatch: pytest.MonkeyPatch, cpu: bool, expected: bool
) -> None:
    monkeypatch.setattr(seeds, "on_cpu", lambda: cpu)
    own = resolve(CartPole())
    assert seeds.runs_as_one_program(own, klamp.RunConfig(own.name, PPO, klamp.Settings()))
    named = klamp.RunConfig("gymnax:CartPole-v1", PPO, klamp.Settings())
    assert seeds.runs_as_one_program(replace(own, name=named.env), named) is expected
    on_host = klamp.RunConfig("CartPole-v1", PPO, klamp.Settings())
    assert not seeds.runs_as_one_program(resolve("CartPole-v1"), on_host)
