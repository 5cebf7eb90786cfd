"""What happened in one update: the outcome, with the numbers that led to it."""

from typing import Any

import pytest
from made_up_runs import OF_TRPO, config, lines, of_ppo, of_trpo

from klamp.config.algorithms import PPO, TRPO
from klamp.reporting.anomalies.history import History
from klamp.reporting.update_story import story


def last(history: History) -> str:
    """The last update in words."""
    return " ".join(story(history, len(history) - 1))


def refused(**told: Any) -> str:
    """The same of one that was refused."""
    odd = {"outcome": "LINE_SEARCH_EXHAUSTED", "backtracks": 9, "ratio_max": 1.0, **told}
    return last(History(config(TRPO()), [*lines(9, **OF_TRPO), lines(10, **OF_TRPO)[9] | odd]))


def test_a_step_that_was_refused_for_its_kl() -> None:
    text = refused(kl_tried=0.013, gain_tried=0.02, damping_share=0.62)
    assert "Update 10 was refused: none of the 10 scales tried could be taken." in text
    assert "the surrogate rose by 0.02, but KL was 0.013 > 0.01" in text
    assert "Damping carried 62% of xᵀ(F + λI)x" in text
    assert "Try: More backtracking" in text
    assert "the whole step could not be taken" in refused(kl_tried=0.013, backtracks=0)


def test_a_step_that_was_refused_for_its_gain() -> None:
    text = refused(kl_tried=0.001, gain_tried=-0.02)
    assert "the surrogate fell by 0.02, but KL was 0.001 ≤ 0.01" in text
    assert "Larger batches" in text
    both = refused(kl_tried=0.1, gain_tried=-0.02)
    assert "the surrogate fell by 0.02, and KL was 0.1 > 0.01" in both
    assert "float32" in refused(kl_tried=0.001, gain_tried=0.02, kl_resolution=0.1)


@pytest.mark.parametrize(
    ("outcome", "words"),
    [
        ("ZERO_GRADIENT", "the gradient of the surrogate is zero"),
        ("NONPOSITIVE_CURVATURE", "no curvature"),
        ("NON_FINITE", "the reward is nan. NaN or infinity reaches no parameter"),
    ],
)
def test_other_refusals(outcome: str, words: str) -> None:
    assert words in refused(outcome=outcome, non_finite="the reward is nan")


def test_a_line_without_figures() -> None:
    line = {"update": 1, "step": 64, "outcome": "NON_FINITE", "kl": None, "non_finite": "x"}
    text = last(History(config(), [line]))
    assert text.endswith("The run stood at step 64.")


def test_a_step_that_was_shortened() -> None:
    text = last(of_trpo(backtracks=2))
    assert "KL is 0.008 nats of 0.01 (the quadratic model said 0.0078)" in text
    assert "the step was shortened 2 times, to 64% of its length" in text
    assert "the whole step was taken" in last(of_trpo())
    assert "Conjugate gradient used 10 products and left 0.01 of g." in text


def test_updates_by_gradient_descent() -> None:
    text = last(of_ppo(PPO(target_kl=0.01), epochs=3))
    assert "after 3 epochs of 10: --target-kl stopped the others" in text
    assert "The step size was 0.0003" in text
    drawn = last(of_ppo(PPO(max_kl=0.01), projection=0.25, kl_before_projection=0.16))
    assert "25% of the update was kept, since its KL was 0.16" in drawn
    assert "β, was 0.5" in last(of_ppo(kl_coefficient=0.5))


def test_policy_and_critic() -> None:
    text = last(of_ppo(entropy=[0.5] * 39 + [0.4], explained_variance=-0.2))
    assert "Entropy is 0.4 nats (-0.1); the least entropy is 0.5, in action dimension 0" in text
    assert "was worse than a constant (explained variance -0.2)" in text
    assert "explained 70% of the variance of its targets" in last(of_ppo())
    assert "all the same" in last(of_ppo(explained_variance=None))


def test_what_is_unlike_the_other_updates() -> None:
    text = last(of_ppo(kl=[0.008] * 39 + [0.04], value_loss=[2.0] * 39 + [0.02]))
    assert "KL is 5.0 times the median; the value loss is 0.01 of the median." in text
    assert "Unusual" not in last(of_ppo())
