"""What trials have in common, and their value."""

import json
from typing import Any

import pytest
from sweeps import small_plan

from klamp.config.search_space import Choice
from klamp.errors import ConfigError
from klamp.training.sweep.plan import SweepPlan, difference, objective


def lines(returns: list[float | None], evaluated: dict[int, float]) -> list[dict[str, Any]]:
    made: list[dict[str, Any]] = [{"return_mean": value} for value in returns]
    for place, value in evaluated.items():
        made[place]["eval_return_mean"] = value
    return made


def test_the_value_is_the_mean_over_the_last_third() -> None:
    returns = [0.0, 0.0, 0.0, 0.0, 3.0, 5.0]
    assert objective(lines(returns, {})) == 4.0
    # Evaluations go before training; those before the last third do not count.
    assert objective(lines(returns, {0: 100.0, 5: 7.0})) == 7.0
    assert objective(lines(returns, {0: 100.0})) == 4.0
    assert objective(lines([None, None, None], {})) is None
    assert objective(lines([2.0], {})) == 2.0
    assert objective([]) is None


def test_tuning_seeds_are_not_those_of_results() -> None:
    plan = small_plan()
    assert plan.config({}, plan.seeds[0]).settings.seed == 1000


def test_a_plan_is_compared_as_json() -> None:
    plan = small_plan()
    said = json.loads(json.dumps(plan.to_dict()))
    assert difference(said, plan.to_dict()) is None
    other = small_plan(steps=512)
    assert difference(said, other.to_dict()) == "`steps` is 256 there and 512 here"


def test_the_first_trial_is_the_preset_with_what_was_given() -> None:
    assert small_plan().first() == {
        "learning_rate": 3e-4,
        "discount": 0.99,
        "final_learning_rate": None,
    }


def test_a_setting_is_given_or_tried() -> None:
    with pytest.raises(ConfigError, match=r"`clip` is given as 0\.1, but the sweep decides"):
        SweepPlan("CartPole-v1", "ppo", {"clip": Choice((0.1, 0.2))}, {"clip": 0.1})
    with pytest.raises(ConfigError, match="`seed`"):
        small_plan(seed=3)
