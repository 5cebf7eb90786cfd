"""`klamp eval`: the line that it prints, and the film that it makes."""

import pytest

import klamp
from klamp.cli.main import main


def test_eval_says_how_the_policy_does(
    trained: klamp.Result, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["eval", str(trained.folder), "--episodes", "3", "--seed", "4"]) == 0
    first = capsys.readouterr().out
    assert first.startswith("CartPole-v1: mean return ")
    assert "over 3 episodes" in first
    assert main(["eval", str(trained.folder), "--episodes", "3", "--seed", "4"]) == 0
    assert capsys.readouterr().out == first
