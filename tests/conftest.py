"""Shared by all tests: no display, no leftovers, one small trained run."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from lent_programs import lent_programs

import klamp
import klamp.training.iteration


@pytest.fixture(scope="session", autouse=True)
def own_state(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The key that runs are signed with is one of the tests' own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        yield


@pytest.fixture(scope="session", autouse=True)
def lent() -> Iterator[None]:
    """No program of a run is traced and compiled twice in one process."""
    with lent_programs():
        yield


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


class Quick:
    """An update that is compiled without optimisation: it takes half the time to compile."""

    def __init__(self, learn: Any) -> None:
        self._learn = learn

    def lower(self, *parts: Any) -> "Quick":
        return Quick(self._learn.lower(*parts))

    def compile(self) -> Any:
        return self._learn.compile(compiler_options={"xla_backend_optimization_level": 0})


@pytest.fixture(scope="module")
def quick_updates() -> Iterator[None]:
    """For modules that train many different programs for few steps each."""
    if "xla_backend_optimization_level=0" in os.environ.get("XLA_FLAGS", ""):
        # Every program is compiled so, and those of these modules serve the others.
        yield
        return
    make = klamp.training.iteration.make_learn
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(klamp.training.iteration, "make_learn", lambda *parts: Quick(make(*parts)))
        yield
