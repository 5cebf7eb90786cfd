"""Anomalies of language-model runs by their definitions, and the words for their options."""

from typing import Any

import pytest
from made_up_runs import UPDATES, lines, names

from klamp.config.algorithms import PPO
from klamp.lm.config.run import Configuration
from klamp.lm.config.settings import Settings
from klamp.reporting.anomalies.detection import anomalies
from klamp.reporting.anomalies.history import History
from klamp.reporting.update_story import story

HEALTHY: dict[str, Any] = {
    "reward_mean": 0.5,
    "completion_length_mean": 6.0,
    "truncated_share": 0.0,
    "groups_without_spread": 0.3,
    "ratio_error": 1e-5,
    "kl_reference": 0.2,
    "reference_coefficient": 0.1,
}


def of_language(settings: dict[str, Any] | None = None, **columns: Any) -> History:
    config = Configuration("sort", PPO(max_kl=0.01), Settings(**(settings or {})))
    return History(config, lines(**HEALTHY | columns))


TARGET = {"reference_coefficient": 0.1, "reference_target": 0.1}


@pytest.mark.parametrize(
    ("settings", "columns", "found"),
    [
        ({}, {}, []),
        ({}, {"ratio_error": 9e-4}, []),
        ({}, {"ratio_error": [1e-5] * 39 + [0.3]}, ["sampled-from-another-policy"]),
        ({}, {"truncated_share": 0.6}, ["completions-cut-off"]),
        ({}, {"groups_without_spread": 0.9, "return_mean": 3.0}, ["groups-alike"]),
        ({}, {"kl_reference": 2.0}, ["far-from-reference"]),
        (TARGET, {"kl_reference": 0.2}, ["reference-target-missed"]),
        (TARGET, {"kl_reference": 0.12}, []),
        ({}, {"choice_entropy_min": None, "entropy": 0.001, "return_mean": 3.0}, None),
    ],
)
def test_each_is_found_where_it_is(settings: Any, columns: Any, found: Any) -> None:
    run = of_language(settings, **columns)
    if found is None:
        assert "policy-narrow" in names(run)
    else:
        assert names(run) == found


def test_remedies_name_options_that_these_runs_have() -> None:
    columns = {"outcome": ["ACCEPTED", "LINE_SEARCH_EXHAUSTED"] * (UPDATES // 2)}
    (refused,) = anomalies(of_language(ratio_max=1.0, gain_tried=-0.1, kl_tried=0.001, **columns))
    assert refused.name == "updates-refused"
    assert "--prompts" in refused.remedy
    (mismatch,) = anomalies(of_language(ratio_error=0.2))
    assert "temperature, top-k or top-p, dropout, a mask" in mismatch.remedy
    assert "0.2 nats" in mismatch.evidence


def test_an_update_tells_of_its_completions() -> None:
    text = " ".join(story(of_language(), 3))
    assert "earned 0.5 on average and were 6.0 tokens long; 0% were cut off" in text
    assert "Of 30% of the prompts all earned the same" in text
    assert "differ by at most 1e-05 nats" in text
    assert "0.2 nats a token from its reference" in text
