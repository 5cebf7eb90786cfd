"""A critic that harms, one that is idle, and rewards of another size."""

from made_up_runs import UPDATES, config, lines, names, of_ppo

from klamp.config.algorithms import REINFORCE
from klamp.reporting.anomalies.history import History

FLAT = {"return_mean": [20.0 + i % 3 for i in range(UPDATES)]}


def test_worse_than_a_constant() -> None:
    assert names(of_ppo(explained_variance=-0.4)) == ["critic-worse-than-constant"]
    assert names(of_ppo(explained_variance=0.02)) == []
    # Solved: nothing is left to explain.
    loss = [10.0, *[1e-3] * (UPDATES - 1)]
    assert names(of_ppo(explained_variance=-0.4, value_loss=loss)) == []


def test_idle_while_nothing_is_learnt() -> None:
    assert names(of_ppo(explained_variance=0.01, **FLAT)) == ["critic-not-learning"]
    early = [0.0 if i < 15 else 0.6 for i in range(UPDATES)]
    assert names(of_ppo(explained_variance=early, **FLAT)) == []


def test_rewards_of_another_size_come_before_what_they_do() -> None:
    assert names(of_ppo(value_loss=1e9, explained_variance=0.0, **FLAT)) == ["reward-scale"]
    assert names(of_ppo(value_loss=1e9, explained_variance=0.9)) == []


def test_where_there_is_no_critic_none_is_judged() -> None:
    bare = config(REINFORCE(baseline="none"), advantage_estimator="return")
    assert names(History(bare, lines(explained_variance=-1.0, value_loss=1e9))) == []
