"""Training on a real terminal (tmux), at three widths: nothing is cut while it runs, or after."""

import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("tmux") is None, reason="tmux is not installed"),
]
LABELS = ("return", "KL", "outcome", "entropy", "explained variance", "episode length", "elapsed")
TRAIN = "train CartPole-v1 --algo trpo --max-kl 0.01 --num-envs 4"
SHORT = f"{TRAIN} --steps 30000"
LONG = f"{TRAIN} --steps 300000000"
"""Long enough to be looked at on any machine; the window is closed while it trains."""
ON_PURPOSE = ("compiling …", "OTHER …")
"""Where an ellipsis is no cut."""


class Terminal:
    """One window of tmux with a command in it."""

    def __init__(self, width: int, command: str, folder: Path) -> None:
        self.width, self._server = width, f"klamp-{uuid4().hex}"
        line = f"cd {shlex.quote(str(folder))}; {shlex.quote(sys.executable)} -m klamp {command}"
        size = ("-x", str(width), "-y", "40")
        self._tmux("new-session", "-d", *size, f"{line}; echo ended with $?; sleep 1000")

    def _tmux(self, *words: str) -> str:
        command = ["tmux", "-L", self._server, "-f", "/dev/null", *words]
        environment = {**os.environ, "TERM": "xterm-256color", "LC_ALL": "C.UTF-8"}
        # The window says how wide it is, not what the tests are run in.
        environment.pop("COLUMNS", None)
        environment.pop("LINES", None)
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        return done.stdout

    def shows(self, *, joined: bool = False) -> str:
        """The window and what has left it at the top; ``joined``: without the terminal's breaks."""
        return self._tmux("capture-pane", "-p", "-S", "-", *(["-J"] if joined else []))

    def once(self, *texts: str, one_of: str = "") -> str:
        """What it shows as soon as it shows all these texts, and one of these letters if any."""
        while not (
            all(text in (shown := self.shows()) for text in texts)
            and (not one_of or any(letter in shown for letter in one_of))
        ):
            assert "ended with" not in shown or "ended with" in texts, shown
            time.sleep(0.2)
        return shown

    def close(self) -> None:
        self._tmux("kill-server")


def whole(shown: str, width: int) -> str:
    """What a box holds, as one text; every line of it is as wide as the window, and none is cut."""
    for text in ON_PURPOSE:
        shown = shown.replace(text, "")
    assert "…" not in shown
    box = [line for line in shown.splitlines() if line.startswith(("╭", "│", "╰"))]
    assert box
    for line in box:
        assert len(line) == width
        assert line.endswith(("╮", "│", "╯"))
    return " ".join(" ".join(box).replace("│", " ").split())


@pytest.fixture(params=[60, 80, 120])
def width(request: pytest.FixtureRequest) -> int:
    return request.param


@pytest.fixture
def open_terminals() -> Iterator[list[Terminal]]:
    found: list[Terminal] = []
    yield found
    for terminal in found:
        terminal.close()


def test_one_run_while_it_trains(
    tmp_path: Path, width: int, open_terminals: list[Terminal]
) -> None:
    terminal = Terminal(width, f"{LONG} --out run", tmp_path)
    open_terminals.append(terminal)
    assert "elapsed" not in terminal.once("compiling …")
    # The course of the return is a flat line until it has risen.
    shown = terminal.once("entropy", " left", "╰", one_of="▂▃▄▅▆▇█")
    text = whole(shown, width)
    for label in (*LABELS, "of 300,000,000", "≤ 0.01", "ACCEPTED"):
        assert label in text


def test_one_run_at_its_end(tmp_path: Path, width: int, open_terminals: list[Terminal]) -> None:
    terminal = Terminal(width, f"{SHORT} --out run", tmp_path)
    open_terminals.append(terminal)
    text = whole(terminal.once("ended with 0"), width)
    assert "Done" in text
    assert "elapsed" not in text, "the panel made way for the table"
    assert "last 100 training episodes" in text
    for command in ("klamp eval run", "klamp explain run", "klamp compare run OTHER …"):
        assert command in terminal.shows(joined=True)


def test_many_seeds_while_they_train(
    tmp_path: Path, width: int, open_terminals: list[Terminal]
) -> None:
    terminal = Terminal(width, f"{LONG} --seeds 3 --out three", tmp_path)
    open_terminals.append(terminal)
    text = whole(terminal.once("waiting", "compiling", "╰"), width)
    assert "0 of 3 seeds done" in text
    text = whole(terminal.once("elapsed", "returns", "%"), width)
    assert "of 900,000,000" in text


def test_many_seeds_at_their_end(
    tmp_path: Path, width: int, open_terminals: list[Terminal]
) -> None:
    terminal = Terminal(width, f"{SHORT} --seeds 3 --out three", tmp_path)
    open_terminals.append(terminal)
    text = whole(terminal.once("ended with 0"), width)
    assert text.count(" done ") == 3
    assert "klamp compare three" in terminal.shows(joined=True)
