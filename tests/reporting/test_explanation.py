"""A run in words: what was found with its evidence, within 80 columns, and nothing for nothing."""

from pathlib import Path

import pytest
from made_up_runs import config, lines, of_ppo, of_trpo

from klamp.errors import ConfigError
from klamp.reporting.anomalies.history import History
from klamp.reporting.explanation import explain_run, explain_update

FOLDER = Path("runs/x")


def test_a_healthy_run_is_told_in_a_paragraph() -> None:
    text = explain_run(of_ppo(), FOLDER)
    assert "CartPole-v1 · PPO" in text
    flat = " ".join(text.split())
    assert "81,920 of 100,000 steps in 40 updates. All of them were made." in flat
    assert "The mean return went from 20 to 410." in flat
    assert "Nothing looks wrong" in flat
    assert "klamp explain runs/x --update 1" in flat


def test_findings_have_a_number_their_evidence_and_what_to_try() -> None:
    outcome = ["ACCEPTED", "LINE_SEARCH_EXHAUSTED"] * 20
    text = explain_run(
        of_trpo(outcome=outcome, kl_tried=0.02, ratio_max=1.0, cg_residual=0.9), FOLDER
    )
    flat = " ".join(text.split())
    assert "20 of them were made, 20 refused (20 LINE_SEARCH_EXHAUSTED)" in flat
    assert "2 things look wrong, the most important first." in flat
    first, second = flat.index("1. Many updates were refused"), flat.index("2. Conjugate gradient")
    assert first < flat.index("Seen: 20 of 40") < flat.index("Try: More backtracking") < second
    assert flat.endswith("--update 2")
    assert max(map(len, text.splitlines())) <= 79


def test_a_run_too_short_to_judge_and_one_without_episodes() -> None:
    short = explain_run(History(config(), lines(2, return_mean=None)), FOLDER)
    assert "It is too short to say more." in short
    assert "No episode has ended." in " ".join(short.split())
    flat = explain_run(of_ppo(return_mean=7.0), FOLDER)
    assert "was 7 from first to last" in " ".join(flat.split())


def test_a_folder_does_nothing_to_a_terminal() -> None:
    hostile = Path("runs/\x1b[2J")
    for text in (explain_run(of_ppo(), hostile), explain_update(of_ppo(), 1, hostile)):
        assert all(line.isprintable() for line in text.splitlines())


def test_an_update_that_is_not_there() -> None:
    assert "Update 7 was made." in explain_update(of_ppo(), 7, FOLDER)
    with pytest.raises(ConfigError, match="`--update` is 41, but runs/x has the updates 1 to 40"):
        explain_update(of_ppo(), 41, FOLDER)
