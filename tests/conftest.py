"""Shared by all tests: no display, no leftovers, one small trained run."""

import gc
from collections.abc import Iterator
from pathlib import Path

import jax
import pytest
from lent_programs import Lender, lent_programs

import klamp
import klamp.training.iteration


def pytest_collection_finish() -> None:
    """What is there now stays: the collector of garbage need not go through it again and again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 50)


@pytest.fixture(scope="session", autouse=True)
def own_state(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The key that runs are signed with is one of the tests' own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        yield


@pytest.fixture(scope="session", autouse=True)
def lent() -> Iterator[Lender]:
    """No program of a run is traced and compiled twice in one process."""
    with lent_programs() as lender:
        yield lender


MAPPINGS = 40_000
"""Of memory, that a process of the tests may have between two modules.

A compiled program has some of its own; Linux grants a process 65,530, and JAX does not survive the
first that is refused.
"""


@pytest.fixture(scope="module", autouse=True)
def few_mappings(lent: Lender) -> Iterator[None]:
    """Compiled programs are given up before there are too many."""
    yield
    maps = Path("/proc/self/maps")
    if maps.exists() and maps.read_bytes().count(b"\n") > MAPPINGS:
        lent.forget()
        jax.clear_caches()
        gc.collect()


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
