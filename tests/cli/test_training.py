"""`klamp train`: every setting once, under the heading of its group."""

import re

import pytest

from klamp.cli.main import main
from klamp.config.algorithms import ALGORITHMS
from klamp.config.settings import GROUPS


@pytest.mark.parametrize("algo", list(ALGORITHMS))
def test_each_option_stands_under_the_heading_of_its_group(
    algo: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(["train", "CartPole-v1", "--algo", algo, "--help"])
    # With or without colours and boxes, as the terminal has it.
    text = re.sub(r"\x1b\[[0-9;]*m|[╭╮╰╯│─]", "", capsys.readouterr().out)
    parts = re.split(r"^ *(\S+) options *$", text, flags=re.MULTILINE)
    shown = dict(zip(parts[1::2], parts[2::2], strict=True))
    for heading, group in {**GROUPS, algo: ALGORITHMS[algo]}.items():
        options = re.findall(r"^ *(--[a-z][a-z-]*)", shown[heading], flags=re.MULTILINE)
        assert options == [f"--{name.replace('_', '-')}" for name in group.__dataclass_fields__]
