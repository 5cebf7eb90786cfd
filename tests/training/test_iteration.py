"""An iteration: left where asked, refused where not finite, the same after a restore."""

from typing import Any

import gymnasium
import jax
import numpy as np
import pytest
from gymnasium import spaces

import klamp
from klamp.runtime.seeding import Purpose, environment_seed
from klamp.training.iteration import start


class Fragile(gymnasium.Env):
    """After some steps of its life its observation or reward is not finite, for as long as it is
    not reset."""

    observation_space = spaces.Box(-9, 9, (2,), np.float32)
    action_space = spaces.Box(-1, 1, (1,), np.float32)

    def __init__(self, where: str = "observation", when: int = 40, often: bool = False) -> None:
        self.where, self.when, self.often, self.life, self.broken = where, when, often, 0, False

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple:
        super().reset(seed=seed)
        self.broken = False
        return self.np_random.normal(size=2).astype(np.float32), {}

    def step(self, action: Any) -> tuple:
        self.life += 1
        self.broken |= self.often or self.life == self.when
        seen = self.np_random.normal(size=2).astype(np.float32)
        reward = 1.0
        if self.broken and self.where == "observation":
            seen[1] = np.nan
        elif self.broken:
            reward = float("-inf")
        return seen, reward, False, False, {}


@pytest.fixture(scope="module", autouse=True)
def registered() -> None:
    for name, options in {
        "Fragile-observation-v0": {},
        "Fragile-reward-v0": {"where": "reward"},
        "Fragile-always-v0": {"often": True, "when": 0},
    }.items():
        if name not in gymnasium.registry:
            gymnasium.register(name, Fragile, kwargs=options, max_episode_steps=10)


def config(env: str, **settings: Any) -> klamp.RunConfig:
    small = {
        "num_envs": 2,
        "rollout_length": 8,
        "hidden_sizes": (4,),
        "normalize_observation": True,
    }
    return klamp.RunConfig(
        env, klamp.PPO(epochs=2, minibatch_size=8), klamp.Settings(**(small | settings))
    )


@pytest.mark.parametrize("where", ["observation", "reward"])
def test_what_is_not_finite_is_refused_named_and_left_behind(where: str) -> None:
    run, state = start(config(f"Fragile-{where}-v0", normalize_reward=True))
    refused = []
    for update in range(12):
        before = state
        state, metrics = run.advance(state)
        assert metrics["outcome"] in ("NON_FINITE", "ACCEPTED")
        if metrics["outcome"] == "NON_FINITE":
            refused.append(update)
            np.testing.assert_array_equal(before.theta, state.theta)
            assert jax.tree.all(jax.tree.map(np.array_equal, before.algorithm, state.algorithm))
            assert before.observation_moments is state.observation_moments
            assert before.reward_moments is state.reward_moments
            assert metrics["kl"] is None
            assert f"{where}" in metrics["non_finite"]
            assert "of environment 0 at step 7 of the rollout is" in metrics["non_finite"]
            seed = environment_seed(0, Purpose.EPISODE, 0, 3)
            assert f"`reset(seed={seed})` begins" in metrics["non_finite"]
    assert refused == [4]
    assert list(state.refused) == [0, 1]
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(state))
    run.close()


def test_ten_refusals_in_a_row_stop_the_run(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("klamp.training.train.check_environment", lambda *_: None)
    parts = config("Fragile-always-v0")
    with pytest.raises(klamp.NonFiniteError, match=r"10 updates in a row.*observation, entry"):
        klamp.train(
            "Fragile-always-v0",
            parts.algorithm,
            steps=10_000,
            num_envs=2,
            rollout_length=8,
            hidden_sizes=(4,),
            out=tmp_path / "run",
            quiet=True,
        )
    policy = klamp.load(tmp_path / "run")
    assert np.isfinite(policy.theta).all()


@pytest.mark.compiles
def test_it_can_be_left_before_every_step() -> None:
    run, state = start(config("Pendulum-v1"))
    looks = 0

    def look() -> None:
        nonlocal looks
        looks += 1

    run.advance(state, look)
    assert looks == 8 + 1
    run.close()


RECURRENT = {"recurrent_size": 4, "sequence_length": 4, "normalize_observation": False}
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "vector": ("CartPole-v1", {}),
    "copies": ("CartPole-v1", {"vectorization": "sync", "normalize_reward": True}),
    "continuous": ("Pendulum-v1", {"normalize_reward": True, "dropout": 0.1}),
    "memory": ("CartPole-v1", RECURRENT | {"vectorization": "sync"}),
    "memory, vector": ("CartPole-v1", RECURRENT),
}


@pytest.mark.compiles
@pytest.mark.parametrize("case", CASES)
def test_a_run_put_back_goes_on_with_the_same_bytes(case: str) -> None:
    """Position and state are all there is: a second run given both makes the same updates."""
    env, settings = CASES[case]
    settings = settings | ({"rollout_length": 30} if not settings.get("recurrent_size") else {})
    first, state = start(config(env, **settings))
    for _ in range(5):
        state, _ = first.advance(state)
    position = first.position()
    second, _ = start(config(env, **settings))
    assert second.restore(position.arrays()) == []
    other = state
    for _ in range(4):
        state, expected = first.advance(state)
        other, found = second.advance(other)
        assert found == expected
    jax.tree.map(np.testing.assert_array_equal, other, state)
    for name, array in first.position().arrays().items():
        np.testing.assert_array_equal(second.position().arrays()[name], array, err_msg=name)
    first.close()
    second.close()
