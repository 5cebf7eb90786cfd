"""Each anomaly of updates by its definition: found where it is, and on its right side only."""

from typing import Any

import pytest
from made_up_runs import UPDATES, config, lines, names, of_ppo, of_trpo

from klamp.config.algorithms import NPG, PPO, TRPO, PPOPenalty
from klamp.reporting.anomalies.detection import anomalies
from klamp.reporting.anomalies.history import History

FLAT = {"return_mean": [20.0 + i % 3 for i in range(UPDATES)]}


def mixed(usual: Any, odd: Any, every: int) -> list[Any]:
    """One of so many updates is another."""
    return [odd if i % every == 0 else usual for i in range(UPDATES)]


def test_what_is_not_finite_comes_first_and_names_its_source() -> None:
    line = lines(1)[0] | {"outcome": "NON_FINITE", "non_finite": "the reward is nan", "kl": None}
    run = History(config(), [*lines(9), line])
    found = anomalies(run)
    assert found[0].name == "not-finite"
    assert "1 of 10 updates" in found[0].says
    assert "the reward is nan" in found[0].evidence
    assert "environment" in found[0].remedy
    gradient = History(config(), [*lines(9), line | {"kl": 0.0}])
    assert "--learning-rate" in anomalies(gradient)[0].remedy


@pytest.mark.parametrize(
    ("told", "word"),
    [
        ({"kl_tried": 0.02}, "above δ = 0.01"),
        ({"gain_tried": -0.1}, "did not rise"),
        ({"kl_resolution": 0.1}, "float32"),
    ],
)
def test_refused_updates_say_what_kept_the_search_from_a_step(
    told: dict[str, Any], word: str
) -> None:
    run = of_trpo(outcome=mixed("ACCEPTED", "LINE_SEARCH_EXHAUSTED", 4), ratio_max=1.0, **told)
    (found,) = anomalies(run)
    assert found.name == "updates-refused"
    assert "10 of 40 updates ended as LINE_SEARCH_EXHAUSTED" in found.evidence
    assert word in found.evidence
    few = mixed("ACCEPTED", "LINE_SEARCH_EXHAUSTED", 20)
    assert names(of_trpo(outcome=few, ratio_max=1.0, **told)) == []


def test_no_curvature_wants_damping() -> None:
    run = of_trpo(outcome=mixed("ACCEPTED", "NONPOSITIVE_CURVATURE", 4), ratio_max=1.0)
    (found,) = anomalies(run)
    assert "--damping" in found.remedy


def test_a_ratio_that_is_not_1_where_nothing_moved() -> None:
    outcome = mixed("ACCEPTED", "LINE_SEARCH_EXHAUSTED", 20)
    assert names(of_trpo(outcome=outcome, ratio_max=1.2)) == ["ratio-not-one"]
    shared = config(TRPO(), shared_network=True)
    assert names(History(shared, lines(outcome=outcome, ratio_max=1.2))) == []


@pytest.mark.parametrize("algorithm", [NPG(), PPO(target_kl=0.01)])
def test_a_kl_above_what_was_aimed_at(algorithm: Any) -> None:
    def found(kl: float) -> list[str]:
        return names(History(config(algorithm), lines(kl=mixed(0.01, kl, 5))))

    assert found(0.025) == ["kl-above-bound"]
    assert found(0.019) == []


def test_a_penalty_may_learn_its_price_from_single_updates() -> None:
    for every, found in ((3, []), (1, ["kl-above-bound", "updates-too-long"])):
        penalty = History(config(PPOPenalty()), lines(kl=mixed(0.01, 0.06, every)))
        assert names(penalty) == found


def test_updates_that_are_too_long() -> None:
    assert names(of_ppo(kl=mixed(0.01, 0.06, 5))) == ["updates-too-long"]
    assert names(of_ppo(kl=mixed(0.01, 0.04, 5))) == []
    (found,) = anomalies(of_ppo(clip_fraction=0.58, kl=0.04))
    assert found.name == "updates-too-long"
    assert "58% of the ratios" in found.evidence
    assert "--max-kl" in found.remedy
    (found,) = anomalies(of_trpo(TRPO(max_kl=1.0), kl=0.9))
    assert "it is 1 nats" in found.remedy


def test_a_policy_that_hardly_moves_and_does_not_learn() -> None:
    assert names(of_ppo(kl=1e-6, **FLAT)) == ["updates-too-short"]
    assert names(of_ppo(kl=1e-6)) == []
    (found,) = anomalies(of_trpo(TRPO(max_kl=1e-6), kl=1e-6, **FLAT))
    assert "it is 1e-06 nats" in found.remedy


def test_damping_and_a_solution_that_is_none() -> None:
    (found,) = anomalies(of_trpo(damping_share=0.99, kl=5e-5, **FLAT))
    assert found.name == "damping-dominates"
    assert "99.0% of xᵀ(F + λI)x" in found.evidence
    assert names(of_trpo(damping_share=0.7)) == []
    assert names(of_trpo(cg_residual=0.8)) == ["solution-inexact"]


def test_a_step_size_that_fell_to_nothing_before_the_end() -> None:
    rate = [3e-4 * max(1 - 2 * i / UPDATES, 0) for i in range(UPDATES)]
    assert names(of_ppo(learning_rate=rate)) == ["learning-rate-gone"]
    usual = [3e-4 * (1 - i / UPDATES) for i in range(UPDATES)]
    assert names(of_ppo(learning_rate=usual)) == []


def test_updates_that_are_drawn_back_almost_whole() -> None:
    told = {"kl_before_projection": 0.5, "outcome": "PROJECTED"}
    assert names(of_ppo(PPO(max_kl=0.01), projection=0.1, **told)) == ["drawn-back"]
    assert names(of_ppo(PPO(max_kl=0.01), projection=0.6, **told)) == []
