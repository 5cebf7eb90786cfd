"""The way of a new user: docs/own-task.md, from an empty folder to a policy that runs elsewhere."""

import importlib
import json
import os
import subprocess
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


WALK = """
import json, sys
from pathlib import Path

import walk

folder = Path(sys.argv[1])
(folder / "empty").mkdir()
steps = walk.walk(folder / "empty", walk.as_installed(folder / "programs"))
print(json.dumps([step.did for step in steps]))
"""


@pytest.mark.slow
def test_the_page_is_followed_to_its_end(way: Any, tmp_path: Path) -> None:
    """Train, watch, stop, resume, evaluate, explain, compare three seeds, export, run by ONNX."""
    # A process of its own: what types on a terminal forks, which one with threads must not.
    variables = {**os.environ, "PYTHONPATH": os.pathsep.join((str(ROOT / "benchmarks"), *sys.path))}
    walked = subprocess.run(
        [sys.executable, "-c", WALK, tmp_path], env=variables, stdout=subprocess.PIPE, check=True
    )
    done = json.loads(walked.stdout.splitlines()[-1])
    assert done == way.commands(way.PAGE.read_text(encoding="utf-8"))[1:]
