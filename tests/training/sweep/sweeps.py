"""Sweeps that are small enough for tests."""

from pathlib import Path
from typing import Any

import pytest

from klamp.config.search_space import Choice, Interval
from klamp.training.sweep.plan import SweepPlan

SMALL: dict[str, Any] = {
    "steps": 256,
    "num_envs": 2,
    "rollout_length": 16,
    "hidden_sizes": (4,),
    "epochs": 1,
    "minibatch_size": 32,
    "checkpoint_interval": 64,
}
SPACE = {
    "learning_rate": Interval(1e-4, 1e-1, log=True),
    "discount": Choice((0.9, 0.99)),
    "final_learning_rate": Choice((None, 0.0)),
}


def small_plan(**settings: Any) -> SweepPlan:
    return SweepPlan("CartPole-v1", "ppo", SPACE, {**SMALL, **settings})


def needs_optuna() -> None:
    pytest.importorskip("optuna")


def file_of(folder: Path) -> str:
    return f"sqlite:///{folder / 'sweep.db'}"
