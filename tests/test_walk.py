"""The way of a new user: docs/own-task.md, from an empty folder to a policy that runs elsewhere."""

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def way() -> Iterator[Any]:
    sys.path.insert(0, str(ROOT / "benchmarks"))
    try:
        yield importlib.import_module("walk")
    finally:
        sys.path.remove(str(ROOT / "benchmarks"))


def test_every_command_of_the_page_has_something_that_it_must_leave(way: Any) -> None:
    page = way.PAGE.read_text(encoding="utf-8")
    install, train, board, ctrl_c, *rest = way.commands(page)
    assert install.startswith("pip install")
    assert train.startswith("klamp train factory:corridor:Corridor")
    assert (board, ctrl_c) == ("klamp board", "^C")
    assert {" ".join(line.split()[:2]) for line in rest} == set(way.AFTER)
    assert set(way.files(page)) == {"corridor.py", "act.py"}


@pytest.mark.slow
def test_the_page_is_followed_to_its_end(way: Any, tmp_path: Path) -> None:
    """Train, watch, stop, resume, evaluate, explain, compare three seeds, export, run by ONNX."""
    (tmp_path / "empty").mkdir()
    steps = way.walk(tmp_path / "empty", way.as_installed(tmp_path / "programs"))
    assert [step.did for step in steps] == way.commands(way.PAGE.read_text(encoding="utf-8"))[1:]
