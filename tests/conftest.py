"""Shared by all tests: no display, no leftovers, one small trained run."""

from pathlib import Path

import pytest

import klamp


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> klamp.Result:
    """A short PPO run on CartPole-v1, for tests that only need some run."""
    folder: Path = tmp_path_factory.mktemp("runs") / "cartpole"
    return klamp.train(
        "CartPole-v1",
        steps=6_000,
        seed=3,
        num_envs=4,
        rollout_length=128,
        checkpoint_interval=2_000,
        out=folder,
        quiet=True,
    )
