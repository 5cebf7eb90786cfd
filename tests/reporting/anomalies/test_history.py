"""Lines as columns: what is missing, not a number or a stranger's counts as not told."""

import numpy as np
import pytest
from made_up_runs import config

from klamp.errors import CheckpointError
from klamp.reporting.anomalies.history import History, median


def test_what_is_no_usable_number_is_missing() -> None:
    strange = [1.5, None, "2", True, 1e200, 10**400, [3], float("nan"), -4]
    run = History(config(), [{"update": i, "kl": value} for i, value in enumerate(strange)])
    np.testing.assert_array_equal(run.told("kl"), [1.5, -4.0])
    assert np.isnan(run.column("nothing")).all()
    assert len(run.recent("kl")) == 1


def test_updates_are_named_by_their_numbers_and_the_first_only() -> None:
    run = History(config(), [{"update": 10 + i, "outcome": "ACCEPTED"} for i in range(6)])
    assert run.listed(np.arange(6) == 2) == "update 12"
    assert run.listed(np.arange(6) < 2) == "updates 10, 11"
    assert run.listed(np.arange(6) < 5) == "updates 10, 11, 12, … (5 of them)"
    assert run.recent_updates() == "updates 13 to 15"


def test_an_outcome_does_nothing_to_a_terminal() -> None:
    run = History(config(), [{"update": 1, "outcome": "\x1b[2J"}, {"update": 2}])
    assert all(outcome.isprintable() for outcome in run.outcomes)
    assert not run.made.any()


def test_few_numbers_have_no_median_and_an_empty_run_no_history() -> None:
    assert np.isnan(median(np.ones(4)))
    assert median(np.arange(5.0)) == 2.0
    with pytest.raises(CheckpointError, match="no updates"):
        History(config(), [])
