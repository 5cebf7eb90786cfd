"""Every error of ours is also the built-in that callers expect."""

import re
import tomllib
import warnings
from pathlib import Path

import pytest

from klamp import errors


@pytest.mark.parametrize(
    ("ours", "builtin"),
    [
        (errors.ConfigError, ValueError),
        (errors.EnvironmentFault, RuntimeError),
        (errors.CheckpointError, RuntimeError),
        (errors.RunFolderError, FileExistsError),
        (errors.NonFiniteError, FloatingPointError),
    ],
)
def test_errors_are_of_both_families(ours: type, builtin: type) -> None:
    assert issubclass(ours, errors.KlampError)
    assert issubclass(ours, builtin)


def test_the_nearest_name_is_suggested() -> None:
    assert errors.closest("learning_rat", ["clip", "learning_rate"]) == (
        " Did you mean `learning_rate`?"
    )
    assert errors.closest("zzz", ["clip"]) == ""


def test_a_value_is_shown_on_one_line_and_no_longer_than_told() -> None:
    assert errors.shown(0.5) == "0.5"
    assert errors.shown("a\n\x1b") == "'a\\n\\x1b'"
    assert errors.shown("x" * 100, 10) == "'xxxxxxxxx…"


HOSTILE = [
    "\x1b[2J\x1b[31mgone",
    "two\nlines\r",
    "\u202ereversed\u2066",
    "\x9b1m",
    "bell\a\0\x7f",
    "half \ud800",
    "para\u2029graph",
]


@pytest.mark.parametrize("text", HOSTILE, ids=ascii)
def test_no_message_does_anything_to_a_terminal(text: str) -> None:
    """Whatever a file of a stranger put into it, and whoever prints it."""
    made = [
        errors.printable(text),
        errors.shown(text),
        errors.KlampError(text),
        errors.RunFolderError(text),
        errors.CopyFault(3, text),
        errors.Stopped(15, text),
        errors.KlampWarning(text),
    ]
    for message in made:
        assert str(message).isprintable()
        str(message).encode()
    # Words that hide nothing stay as they are.
    assert errors.printable("Größe 7 · δ [bold] \\") == "Größe 7 · δ [bold] \\"


def test_a_warning_of_ours_is_shown_as_harmless() -> None:
    with pytest.warns(errors.KlampWarning) as caught:
        warnings.warn(HOSTILE[0], errors.KlampWarning, stacklevel=1)
    assert str(caught[0].message) == "\\x1b[2J\\x1b[31mgone"


def test_a_text_is_cut_after_so_many_letters() -> None:
    assert errors.printable("abcdef", 3) == "abc…"
    assert errors.printable("abc", 3) == "abc"


def test_an_extra_is_installed_as_one_place_says() -> None:
    """No message tells to install from an index that does not have klamp, or an unknown extra."""
    root = Path(__file__).parent.parent
    extras = tomllib.loads((root / "pyproject.toml").read_text())["project"][
        "optional-dependencies"
    ]
    named: set[str] = set()
    for path in (root / "src").rglob("*.py"):
        text = path.read_text()
        assert "klamp[" not in text or path.name == "errors.py", path
        named |= set(re.findall(r"install_extra\([\"'](\w+)[\"']\)", text))
        named |= set(re.findall(r"missing_package\(\"\w+\", \"(\w+)\"\)", text))
    assert {"mujoco", "sweep", "export", "video", "wandb"} <= named <= set(extras)
    assert "pip install '.[mujoco]'" in errors.install_extra("mujoco")
