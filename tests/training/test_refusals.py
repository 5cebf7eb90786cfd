"""Updates that are refused: an error after many in a row, a warning of what float32 resolves."""

import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import klamp
from klamp.training.refusals import (
    REFUSALS,
    UnresolvedBound,
    refusals_error,
    refused_too_often,
)


def test_so_many_in_a_row_are_too_many() -> None:
    for count in (0, REFUSALS - 1, REFUSALS):
        state: Any = SimpleNamespace(refused=(count, 0))
        assert refused_too_often(state) is (count == REFUSALS)
    said = str(refusals_error({"non_finite": "the gradient"}, "saved at step 16"))
    assert said.startswith(f"{REFUSALS} updates in a row were refused, the last because of the g")
    assert "(saved at step 16)" in said


@pytest.mark.parametrize("algorithm", [klamp.A2C(), klamp.PPO(), klamp.TRPO(max_kl=1e-4)])
def test_a_bound_that_is_resolved_or_not_there_is_not_warned_of(algorithm: Any) -> None:
    config: Any = SimpleNamespace(algorithm=algorithm)
    watch = UnresolvedBound(config)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for resolution in (None, 1e-6, 1e-4):
            watch.hear({"update": 1, "kl_resolution": resolution})


def test_a_bound_below_what_float32_resolves_is_explained_once(tmp_path: Path) -> None:
    settings = {"num_envs": 2, "rollout_length": 8, "hidden_sizes": (4,), "steps": 48}
    settings |= {"critic_minibatch_size": 16, "initial_log_std": -10.0}
    with pytest.warns(klamp.KlampWarning) as said:
        result = klamp.train(
            "Pendulum-v1", klamp.TRPO(max_kl=1e-10), out=tmp_path, quiet=True, **settings
        )
    told = [str(each.message) for each in said if "max_kl" in str(each.message)]
    assert len(told) == 1
    assert "`max_kl` is 1e-10 nats, but at update 1 float32 tells" in told[0]
    assert {line["outcome"] for line in result.metrics} == {"LINE_SEARCH_EXHAUSTED"}
    assert all(line["kl_resolution"] > 1e-10 for line in result.metrics)
