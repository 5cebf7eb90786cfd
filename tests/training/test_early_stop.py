"""When a run ends early: the rule of the settings' docstrings, and nothing else."""

from typing import Any

import pytest

from klamp.config.settings import Settings
from klamp.training.early_stop import EarlyStop


def told(update: int, mean: float | None, *, episodes: int = 100) -> dict[str, Any]:
    return {"step": 10 * update, "return_mean": mean, "episodes": episodes}


def evaluated(update: int, mean: float | None) -> dict[str, Any]:
    line: dict[str, Any] = told(update, -1.0 * update)
    return line if mean is None else line | {"eval_return_mean": mean}


def test_a_plateau_is_so_many_evaluations_without_a_new_best() -> None:
    early = EarlyStop(Settings(eval_interval=10, stop_on_plateau=3))
    returns = [5.0, None, 5.0, 4.0, None, 6.0, 5.9, None, 6.0, 1.0]
    said = [early.hear(evaluated(n, mean)) for n, mean in enumerate(returns, 1)]
    assert said[:-1] == [None] * 9
    assert said[-1] == "3 evaluations in a row had no mean return above 6, that of step 60"


def test_without_evaluations_updates_count_once_100_episodes_have_ended() -> None:
    early = EarlyStop(Settings(stop_on_plateau=1))
    assert early.hear(told(1, 9.0, episodes=99)) is None
    assert early.hear(told(2, 8.0)) is None
    assert early.hear(told(3, 8.5)) is None
    said = early.hear(told(4, 8.5))
    assert said == "1 update in a row had no mean return above 8.5, that of step 30"


@pytest.mark.parametrize("cut", range(7))
def test_a_run_that_goes_on_has_not_forgotten(cut: int) -> None:
    lines = [evaluated(n, mean) for n, mean in enumerate([3.0, 2.0, 3.5, 3.0, 2.0, 2.0, 9.0])]
    whole, again = (EarlyStop(Settings(eval_interval=10, stop_on_plateau=3)) for _ in range(2))
    said = [whole.hear(line) for line in lines]
    assert [again.hear(line) for line in lines[:cut]] == said[:cut]
    assert [again.hear(line) for line in lines[cut:]] == said[cut:]


def test_a_return_that_was_asked_for() -> None:
    early = EarlyStop(Settings(eval_interval=10, stop_at_return=475))
    assert not early.needs_the_past
    assert early.hear(evaluated(1, 474.9)) is None
    assert early.hear(evaluated(2, None)) is None
    assert early.hear(evaluated(3, 480.0)) == (
        "the mean return of the evaluation, 480, has reached 475"
    )
