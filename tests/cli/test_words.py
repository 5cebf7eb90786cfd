"""Errors in the words of who reads them: Python's where they are made, options on a terminal."""

import ast
import re
import warnings
from pathlib import Path

import pytest

import klamp
from klamp.cli.words import on_the_command_line, plain_warnings
from klamp.errors import resume_call

SOURCE = Path(klamp.__file__).parent

TYPED = ("env_kwargs.py", "sweep.py", "report.py")
"""Modules that speak of what is typed."""


@pytest.mark.parametrize(
    ("said", "typed"),
    [
        ("Set it with `max_kl=…`.", "Set it with `--max-kl …`."),
        ("`vectorization='sync'`, or", "`--vectorization sync`, or"),
        ("`out='runs/a b'`", "`--out 'runs/a b'`"),
        ("`normalize_reward=True`; `quiet=False`", "`--normalize-reward`; `--no-quiet`"),
        ("`hidden_sizes=(64, 64)`", "`--hidden-sizes 64 64`"),
        ("from `seed=3`, comes", "from `--seed 3`, comes"),
        ("`environment=…` and `x=1` and `max_kl`", "`environment=…` and `x=1` and `max_kl`"),
        ("go on with: klamp.resume('runs/x')", "go on with: klamp resume runs/x"),
        ("`klamp.resume('RUN/step_…', steps=…)`", "`klamp resume RUN/step_… --steps …`"),
        ("`klamp.resume('x', network=…)`", "`klamp.resume('x', network=…)`"),
    ],
)
def test_what_is_said_in_python_is_typed_on_a_terminal(said: str, typed: str) -> None:
    assert on_the_command_line(said) == typed


@pytest.mark.parametrize("folder", ["runs/x", "a b", "it's", 'a"b', "a\\b", "ü(x), y", "a\x1b"])
def test_any_folder_can_be_copied(folder: str) -> None:
    import shlex

    typed = on_the_command_line(f"go on with: {resume_call(folder)}")
    assert typed.isprintable()
    if folder.isprintable():
        assert shlex.split(typed.removeprefix("go on with: ")) == ["klamp", "resume", folder]


def messages(path: Path) -> set[str]:
    """The texts of a file that are no docstrings."""
    tree = ast.parse(path.read_text())
    alone = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    return {
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in alone
    }


def test_no_message_outside_the_command_line_has_its_words() -> None:
    """What `klamp explain` says, and what there is to do next, are read on a terminal only.

    A sweep leaves a file of settings, which only the command line takes.
    """
    ours = re.compile(r"(?<![\w-])--[a-z]|klamp (train|resume|eval)\b")
    for path in SOURCE.rglob("*.py"):
        folder = path.relative_to(SOURCE).parts[0]
        if folder not in ("cli", "reporting") and path.name not in TYPED:
            for text in messages(path):
                assert not ours.search(text), f"{path.name}: {text}"


def test_a_warning_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with warnings.catch_warnings(), plain_warnings():
        warnings.simplefilter("always")
        warnings.showwarning = lambda *parts: print(warnings.formatwarning(*parts[:4]), end="")
        warnings.warn("give a larger `max_kl=…`", klamp.KlampWarning, stacklevel=1)
        warnings.warn("of another library", UserWarning, stacklevel=1)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "klamp: warning: give a larger `--max-kl …`"
    assert "UserWarning: of another library" in lines[1]
