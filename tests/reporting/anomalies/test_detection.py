"""All anomalies together: in order, without what another explains, and not for healthy runs."""

from made_up_runs import UPDATES, config, lines, names, of_ppo, of_trpo

from klamp.reporting.anomalies.finding import RANKS
from klamp.reporting.anomalies.history import History


def test_nothing_is_said_of_healthy_runs_nor_of_short_ones() -> None:
    assert names(of_ppo()) == names(of_trpo()) == []
    for updates in (1, 2, 4):
        assert names(History(config(), lines(updates, explained_variance=-1.0, kl=1.0))) == []


def test_nothing_breaks_where_nothing_is_told() -> None:
    bare = [{"update": i} for i in range(30)]
    assert set(names(History(config(), bare))) <= {*RANKS}


def test_causes_come_first_and_say_what_follows_from_them() -> None:
    flat = [20.0 + i % 3 for i in range(UPDATES)]
    run = of_trpo(damping_share=0.999, kl=1e-7, return_mean=flat, cg_residual=0.9)
    assert names(run) == ["damping-dominates", "solution-inexact"]
