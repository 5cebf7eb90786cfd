"""A policy without randomness, and one that is nothing else."""

from made_up_runs import UPDATES, names, of_ppo

from klamp.config.algorithms import PPO
from klamp.reporting.anomalies.detection import anomalies

FLAT = {"return_mean": [20.0 + i % 3 for i in range(UPDATES)]}
NUMBERS = {"choice_entropy_min": None, "choice_entropy_min_dimension": None}


def test_a_deviation_that_is_gone_names_its_dimension() -> None:
    std = [max(1 - i / 10, 0.001) for i in range(UPDATES)]
    (found,) = anomalies(of_ppo(**NUMBERS, action_std_min=std, action_std_min_dimension=4))
    assert found.name == "policy-narrow"
    assert "in dimension 4 of the action" in found.says
    assert "below 0.02 since update 11" in found.evidence
    assert names(of_ppo(**NUMBERS, action_std_min=0.2, action_std_min_dimension=0)) == []


def test_a_choice_that_is_made_for_good_counts_where_nothing_was_learnt() -> None:
    assert names(of_ppo(choice_entropy_min=1e-4, **FLAT)) == ["policy-narrow"]
    assert names(of_ppo(choice_entropy_min=1e-4)) == []


def test_a_bonus_that_keeps_the_policy_random() -> None:
    bonus = PPO(entropy_coefficient=10.0)
    assert names(of_ppo(bonus, choice_entropy_min=0.69, **FLAT)) == ["bonus-dominates"]
    assert names(of_ppo(bonus, choice_entropy_min=0.69)) == []
    assert names(of_ppo(choice_entropy_min=0.69, **FLAT)) == []
    wide = [1.0 + i for i in range(UPDATES)]
    blown = of_ppo(bonus, **NUMBERS, action_std_min=wide, action_std_min_dimension=0, **FLAT)
    assert names(blown) == ["bonus-dominates"]
