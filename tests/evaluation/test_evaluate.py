"""Evaluation: whole episodes, the number asked for, raw rewards, repeatable."""

from copy import copy
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import gymnasium
import numpy as np
import pytest
from environments import probe
from gymnasium import spaces

import klamp
from klamp.evaluation.evaluate import evaluate
from klamp.evaluation.video import record_video


@pytest.mark.parametrize("episodes", [1, 5, 20])
def test_exactly_the_episodes_asked_for(trained: klamp.Result, episodes: int) -> None:
    result = evaluate(trained.policy, episodes=episodes, seed=1)
    assert len(result.returns) == len(result.lengths) == episodes
    # CartPole pays 1 a step, so the raw return is the length: no phantom step was counted.
    np.testing.assert_array_equal(result.returns, result.lengths)
    assert result.summary()["episodes"] == episodes


def test_the_same_seed_gives_the_same_episodes(trained: klamp.Result) -> None:
    a, b, c = (evaluate(trained.policy, episodes=8, seed=seed).returns for seed in (1, 1, 2))
    np.testing.assert_array_equal(a, b)
    assert not np.array_equal(a, c)


def test_sampled_actions_follow_the_seed(trained: klamp.Result) -> None:
    """Whatever the policy did before; and what it does after knows nothing of it."""
    policy = klamp.load(trained.folder)
    seen = np.zeros((64, 4), np.float32)

    def sampled(seed: int) -> np.ndarray:
        return evaluate(policy, episodes=6, seed=seed, deterministic=False).returns

    first = sampled(1)
    fresh = klamp.load(trained.folder)
    policy.act(seen)
    np.testing.assert_array_equal(sampled(1), first)
    assert not np.array_equal(sampled(2), first)
    fresh.act(seen)
    np.testing.assert_array_equal(
        [policy.act(seen) for _ in range(3)], [fresh.act(seen) for _ in range(3)]
    )


@pytest.mark.compiles
def test_an_evaluation_leaves_a_memory_alone(tmp_path: Path) -> None:
    small = {"steps": 64, "num_envs": 2, "rollout_length": 32, "hidden_sizes": (4,)}
    result = klamp.train("CartPole-v1", recurrent_size=4, out=tmp_path / "run", quiet=True, **small)
    seen = np.ones((1, 4), np.float32)
    policies = [result.policy, klamp.load(result.folder)]
    remembered = []
    for policy in policies:
        policy.act(seen)
        if policy is result.policy:
            evaluate(policy, episodes=2)
        policy.act(seen)
        remembered.append(policy._memory)
    np.testing.assert_array_equal(*remembered)
    assert np.any(remembered[0])


OTHER_SPACES = {
    "observations": (probe("box", "discrete"), "Box(0.0, 1.0, (3,), float32)"),
    "actions": ("Acrobot-v1", "Discrete(3)"),
}


@pytest.mark.parametrize("row", OTHER_SPACES)
def test_an_environment_of_other_spaces_is_named(trained: klamp.Result, row: str) -> None:
    env, shown = OTHER_SPACES[row]
    with pytest.raises(klamp.ConfigError) as caught:
        evaluate(trained.policy, env)
    message = str(caught.value)
    assert "\n" not in message
    for part in (env, shown, "CartPole-v1", str(trained.policy.observation_space), "Discrete(2)"):
        assert part in message


class Fails(gymnasium.Env):
    """An environment that raises in its third step, and tells whether it was closed."""

    metadata: ClassVar = {"render_modes": ["rgb_array"], "render_fps": 30}
    observation_space = spaces.Box(-np.inf, np.inf, (4,), np.float32)
    action_space = spaces.Discrete(2)
    open_copies = 0

    def __init__(self, render_mode: str | None = None) -> None:
        self.render_mode = render_mode
        type(self).open_copies += 1

    def reset(self, *, seed: int | None = None, options: object = None) -> tuple:
        super().reset(seed=seed)
        self.steps = 0
        return np.zeros(4, np.float32), {}

    def step(self, action: object) -> tuple:
        self.steps += 1
        if self.steps == 3:
            raise RuntimeError("lost the cart")
        return np.zeros(4, np.float32), 0.0, False, False, {}

    def render(self) -> np.ndarray:
        return np.zeros((8, 8, 3), np.uint8)

    def close(self) -> None:
        type(self).open_copies -= 1


class Third(Fails):
    """The third copy cannot be made."""

    def __init__(self, render_mode: str | None = None) -> None:
        if type(self).open_copies == 2:
            raise RuntimeError("no third")
        super().__init__(render_mode)


@pytest.mark.parametrize("kind", [Fails, Third])
def test_an_evaluation_that_fails_closes_its_environments(
    trained: klamp.Result, kind: type[Fails], tmp_path: Path
) -> None:
    env = f"{kind.__name__}-v0"
    gymnasium.register(env, entry_point=kind)
    with pytest.raises(klamp.EnvironmentFault):
        evaluate(trained.policy, env, episodes=3)
    assert kind.open_copies == 0
    policy = copy(trained.policy)
    policy.config = replace(policy.config, env=env)
    with pytest.raises(RuntimeError, match="lost the cart"):
        record_video(policy, tmp_path / "film.gif")
    assert kind.open_copies == 0


def test_no_episode_is_an_error(trained: klamp.Result) -> None:
    with pytest.raises(klamp.ConfigError, match="episodes"):
        evaluate(trained.policy, episodes=0)
