"""Evaluations are due at their interval, and tell what the completions earned."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from klamp.lm.config.presets import configure
from klamp.lm.evaluation.evaluate import LAST, GreedyEvaluation


def test_evaluations_and_the_last_word() -> None:
    asked: list[int] = []

    def evaluated(decoder: object, count: int, *, seed: int, deterministic: bool) -> Any:
        asked.append(count)
        assert deterministic
        return SimpleNamespace(
            returns=np.asarray([0.0, 1.0]), lengths=np.asarray([2.0, 4.0]), accuracy=0.5
        )

    config = configure("sort", "ppo", {"eval_interval": 100, "eval_episodes": 7})
    collector = SimpleNamespace(evaluated=evaluated, exact=True)
    evaluation, policy = GreedyEvaluation(config, collector), SimpleNamespace(decoder=None)
    assert [evaluation.due(*steps) for steps in ((0, 99), (99, 100), (120, 180))] == [
        False,
        True,
        False,
    ]
    found = evaluation(policy, lambda: None)
    assert found == {"eval_return_mean": 0.5, "eval_return_std": 0.5, "eval_length_mean": 3.0}
    assert evaluation.at_the_end(policy) == {"accuracy_greedy": 0.5}
    collector.exact = False
    assert evaluation.at_the_end(policy) == {}
    assert asked == [7, LAST]
    assert evaluation.took_s > 0
    assert not GreedyEvaluation(configure("sort", "ppo", {}), collector).due(0, 10**9)
    with pytest.raises(ZeroDivisionError):
        evaluation(policy, lambda: 1 / 0)
