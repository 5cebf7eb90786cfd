"""`klamp presets`: every preset is listed, and one is printed whole."""

import tomllib

import pytest

from klamp.cli.main import main
from klamp.config.presets import OWN, SHARED, configure


def test_every_preset_is_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["presets"]) == 0
    text = capsys.readouterr().out
    for values in [*SHARED.values(), *OWN.values()]:
        assert ", ".join(f"{name}={value}" for name, value in values.items()) in text
    assert len(text.splitlines()) == len(SHARED) + len(OWN) + 4


def test_those_of_one_algorithm(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["presets", "--algo", "npg"]) == 0
    text = capsys.readouterr().out
    assert "  npg " in text
    assert "  a2c " not in text


@pytest.mark.parametrize(("words", "algo"), [([], "ppo"), (["--algo", "trpo"], "trpo")])
def test_a_preset_is_printed_whole(
    words: list[str], algo: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["presets", "HalfCheetah-v4", *words]) == 0
    said = tomllib.loads(capsys.readouterr().out)
    assert said["algo"] == algo
    assert said.items() <= configure("HalfCheetah-v4", algo, {}).to_dict().items()


def test_an_algorithm_that_is_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["presets", "--algo", "pppo"]) == 2
    assert "Did you mean `ppo" in capsys.readouterr().err
