"""Evaluation: whole episodes, the number asked for, raw rewards, repeatable."""

from pathlib import Path

import numpy as np
import pytest

import klamp
from klamp.evaluation import evaluate, record_video


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


def test_no_episode_is_an_error(trained: klamp.Result) -> None:
    with pytest.raises(klamp.ConfigError, match="episodes"):
        evaluate(trained.policy, episodes=0)


def test_a_video_needs_a_known_ending(trained: klamp.Result, tmp_path: Path) -> None:
    with pytest.raises(klamp.ConfigError, match=r"\.mp4 or \.gif"):
        record_video(trained.policy, tmp_path / "film.txt")
