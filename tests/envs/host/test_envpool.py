"""EnvPool's environments: its own resets, its seeds, and what a resumed run cannot have of it.

The library is large and not everywhere, so a stand-in with its interface is looked at as well: rows
that Gymnasium steps, reset in the step after an end as EnvPool resets them.
"""

import os
import sys
from types import SimpleNamespace
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv

import klamp
from klamp import EnvironmentFault
from klamp.envs.checks.startup import check_environment
from klamp.envs.host.envpool import PoolEnvironments, first_core
from klamp.envs.source import resolve
from klamp.errors import CheckpointError
from klamp.runtime.seeding import EnvironmentSeeds, Purpose


class Pool:
    """The part of EnvPool's interface that is used, over Gymnasium's rows."""

    def __init__(
        self,
        name: str,
        num_envs: int,
        num_threads: int,
        thread_affinity_offset: int,
        seed: list[int],
    ) -> None:
        assert num_threads >= 1
        assert thread_affinity_offset >= -1
        makers = [lambda: gymnasium.make(name, disable_env_checker=True)] * num_envs
        self._rows = SyncVectorEnv(makers, autoreset_mode=AutoresetMode.NEXT_STEP)
        self._seeds: Any = seed
        self.observation_space = self._rows.single_observation_space
        self.action_space = self._rows.single_action_space

    def reset(self) -> Any:
        first = self._rows.reset(seed=self._seeds)
        self._seeds = None
        return first

    def step(self, action: Any) -> Any:
        return self._rows.step(action)

    def close(self) -> None:
        self._rows.close()


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    names = ["CartPole-v1", "Pendulum-v1"]
    module = SimpleNamespace(list_all_envs=lambda: names, make_gymnasium=Pool)
    monkeypatch.setitem(sys.modules, "envpool", module)


@pytest.fixture(params=["stand-in", "EnvPool"])
def library(request: pytest.FixtureRequest) -> None:
    """Both the stand-in and, where it is installed, the library."""
    if request.param == "stand-in":
        request.getfixturevalue("stand_in")
    else:
        pytest.importorskip("envpool")


def pool(name: str = "CartPole-v1", rows: int = 3, seed: int = 0) -> PoolEnvironments:
    made = resolve(f"envpool:{name}").host(rows, EnvironmentSeeds(seed, Purpose.EPISODE))
    assert isinstance(made, PoolEnvironments)
    return made


def after(name: str, observation: np.ndarray, action: Any) -> Any:
    """What Gymnasium's own environment does from there."""
    env = gymnasium.make(name, disable_env_checker=True)
    env.reset(seed=0)
    x = observation.astype(np.float64)
    angle = np.array([np.arctan2(x[1], x[0]), x[2]]) if name == "Pendulum-v1" else x
    env.unwrapped.state = angle
    return env.step(action)


@pytest.mark.usefixtures("library")
@pytest.mark.parametrize(("name", "steps"), [("CartPole-v1", 120), ("Pendulum-v1", 402)])
def test_every_row_is_a_true_transition_or_weighs_nothing(name: str, steps: int) -> None:
    """Final observations are those of the episode; time limits are no terminal states."""
    rows = pool(name)
    seen, draw = np.array(rows.reset()), np.random.default_rng(0)
    ends = np.zeros(3, int)
    phantom = np.zeros(3, bool)
    for step in range(steps):
        action = draw.integers(2, size=3) if name == "CartPole-v1" else draw.uniform(-2, 2, (3, 1))
        got = rows.step(action)
        np.testing.assert_array_equal(got.valid, ~phantom)
        for i in np.flatnonzero(got.valid):
            # EnvPool's Pendulum goes on by the speed before it is limited, Gymnasium's after.
            limited = name == "Pendulum-v1" and abs(got.next_observation[i][2]) > 7.99
            if not limited and (step < 40 or got.terminated[i] or got.truncated[i]):
                wanted, reward, terminated, *_ = after(name, seen[i], action[i])
                np.testing.assert_allclose(got.next_observation[i], wanted, rtol=1e-4, atol=1e-4)
                np.testing.assert_allclose(got.reward[i], reward, rtol=1e-3, atol=1e-3)
                assert got.terminated[i] == terminated
        phantom = got.terminated | got.truncated
        ends += phantom
        seen = np.array(got.observation)
        if name == "Pendulum-v1":
            # 200 steps, the row of the reset, 200 steps.
            assert got.truncated.all() == (step in (199, 400))
            assert not got.terminated.any()
    assert (ends >= 2).all()
    rows.close()


@pytest.mark.usefixtures("library")
def test_each_row_has_a_seed_of_its_own_and_the_run_repeats() -> None:
    starts = [np.array(pool(seed=seed).reset()) for seed in (0, 0, 1)]
    np.testing.assert_array_equal(starts[0], starts[1])
    assert len({row.tobytes() for start in (starts[0], starts[2]) for row in start}) == 6


@pytest.mark.usefixtures("stand_in")
def test_no_seed_is_named_that_begins_no_episode() -> None:
    """A row's generator goes on from episode to episode; after a resume it is another."""
    rows = pool(seed=4)
    rows.reset()
    assert rows.origin(1).endswith("the same run, from `seed=4`, comes to it again")
    rows.restore(rows.position().arrays())
    assert rows.origin(1).endswith("if it is resumed from the same checkpoint")
    assert "reset(" not in rows.origin(1)
    rows.close()


@pytest.mark.usefixtures("library")
def test_a_run_trains_and_a_resumed_one_says_that_its_episodes_begin_anew(tmp_path: Any) -> None:
    settings = {"num_envs": 2, "rollout_length": 32, "hidden_sizes": (4,), "quiet": True}
    run = klamp.train("envpool:CartPole-v1", "ppo", steps=128, out=tmp_path / "run", **settings)
    assert run.summary["episodes"] > 0
    assert len(klamp.evaluate(run.policy, episodes=3).returns) == 3
    with pytest.warns(klamp.KlampWarning, match="all episodes began anew"):
        more = klamp.resume(run.folder, steps=192, quiet=True)
    assert more.summary["step"] >= 192


@pytest.mark.usefixtures("stand_in")
def test_a_restored_pool_has_seeds_that_none_had_before() -> None:
    first = pool()
    began = np.array(first.reset())
    saved = first.position().arrays()
    second = pool()
    seen, problems = second.restore(saved)
    assert not np.array_equal(began, seen)
    assert len(problems) == 1
    assert second.position().pools == first.position().pools + 1
    for damaged in ({}, {"pools": np.zeros(2, np.int64)}, {"pools": np.asarray(-1)}):
        with pytest.raises(CheckpointError, match="does not say how many pools"):
            second.restore(damaged)


@pytest.mark.usefixtures("stand_in")
def test_the_start_up_check_looks_at_a_pool() -> None:
    assert not check_environment(resolve("envpool:CartPole-v1"), klamp.Settings()).repeats


@pytest.mark.parametrize(
    ("allowed", "threads", "first"),
    [({0, 1, 2}, 3, 0), ({4, 5}, 2, 4), ({1}, 1, 1), ({0, 1, 2}, 2, -1), ({0, 2}, 2, -1)],
)
def test_threads_stay_on_cores_only_where_they_fill_all_of_them(
    monkeypatch: pytest.MonkeyPatch, allowed: set[int], threads: int, first: int
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: allowed, raising=False)
    assert first_core(threads) == first
    monkeypatch.delattr(os, "sched_getaffinity")
    assert first_core(threads) == -1


@pytest.mark.usefixtures("stand_in")
def test_a_name_that_the_pool_does_not_have() -> None:
    with pytest.raises(EnvironmentFault, match=r"`CartPol-v1`\. Did you mean `CartPole-v1`"):
        pool("CartPol-v1")


def test_without_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "envpool", None)
    with pytest.raises(EnvironmentFault, match=r"\.\[envpool\].*train `CartPole-v1` with"):
        pool()
