"""`klamp sweep`: the space is printed and read back; what is missing is said."""

from pathlib import Path

import pytest

from klamp.cli.main import main


def test_the_space_that_is_printed_is_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["sweep", "Pendulum-v1", "--algo", "trpo", "--print-space"]) == 0
    printed = capsys.readouterr().out
    assert "[max_kl]\nlow = 0.001\nhigh = 0.1\nlog = true\n" in printed
    (tmp_path / "space.toml").write_text(printed)
    words = ["--algo", "trpo", "--space", str(tmp_path / "space.toml"), "--print-space"]
    assert main(["sweep", "Pendulum-v1", *words]) == 0
    assert capsys.readouterr().out == printed


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "was given no ENV"),
        (["CartPole-v1", "--algo", "pppo"], "There is no algorithm `pppo`"),
        (["CartPole-v1", "--space", "nowhere.toml"], "The search space in nowhere.toml"),
        (["CartPole-v1", "--trial", "3"], "Did you mean `--trials`?"),
    ],
)
def test_mistakes(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sweep", *words]) == 2
    assert said in capsys.readouterr().err
