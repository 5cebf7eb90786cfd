"""The way of a new user: docs/own-task.md, typed as it stands into an empty folder, step by step.

    python benchmarks/walk.py             # by the klamp that this Python has
    python benchmarks/walk.py --install   # into an environment of its own first, from this checkout

The page has the files, by their titles, and the commands, in their order. What each command must
leave is ``AFTER``: a command without an entry there, or one that is not on the page, ends the walk.
The first training runs on a terminal and is stopped by Ctrl-C there, once the terminal and the
board have shown it. Writes ``results/walk.md``; ``tests/test_walk.py`` walks, too.
"""

import argparse
import json
import os
import pty
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
import tomllib
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from harness import RESULTS, ROOT, machine, provenance, write

PAGE = ROOT / "docs" / "own-task.md"
MINUTES = 15
"""How long all of it may take."""
RUN = Path("runs/Corridor-ppo-0")


class Step(NamedTuple):
    """What was done, what was seen, and how long it took."""

    did: str
    saw: str
    seconds: float


def files(page: str) -> dict[str, str]:
    """The files that a page has its reader write."""
    found = re.findall(r'^```python title="(.+)"\n((?:.*\n)*?)^```', page, re.MULTILINE)
    return dict(found)


def commands(page: str) -> list[str]:
    """The commands of a page, in their order; ``^C`` is typed into the first one."""
    text = re.sub(r"^```.*\n(?:.*\n)*?^```$", "", page, flags=re.MULTILINE)
    return [
        line.partition("  #")[0].rstrip() for line in re.findall(r"^    (.*\S)", text, re.MULTILINE)
    ]


class Terminal:
    """A terminal of 80 columns with one command in it, which somebody reads."""

    def __init__(self, command: str, folder: Path, variables: dict[str, str]) -> None:
        self._pid, self._handle = pty.fork()
        if self._pid == 0:
            os.chdir(folder)
            os.execvpe("sh", ["sh", "-c", f"exec {command}"], variables)
        self.shown = ""
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        try:
            while piece := os.read(self._handle, 65536):
                self.shown += piece.decode(errors="replace")
        except OSError:
            return

    def until(self, happened: Callable[[], bool]) -> None:
        """Wait; the command must not have ended before."""
        while not happened():
            assert self._reader.is_alive(), self.shown
            time.sleep(0.1)

    def ctrl_c(self) -> int:
        """Type Ctrl-C; the exit code."""
        os.write(self._handle, b"\x03")
        code = os.waitstatus_to_exitcode(os.waitpid(self._pid, 0)[1])
        self._reader.join()
        os.close(self._handle)
        return code


@contextmanager
def beside(command: str, folder: Path, variables: dict[str, str]) -> Iterator[str]:
    """A board beside the walk; its address. Ctrl-C must end it."""
    words = f"{command} --port 0".split()
    board = subprocess.Popen(
        words,
        cwd=folder,
        env=variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        assert board.stdout is not None
        found = re.search(r"http://127\.0\.0\.1:\d+/", board.stdout.readline())
        assert found, f"`{command}` prints no address"
        yield found[0]
    finally:
        board.send_signal(signal.SIGINT)
        assert board.wait() == 130
        if board.stdout is not None:
            board.stdout.close()


def lines(folder: Path) -> list[dict[str, object]]:
    """The metrics of the first run, as far as it is."""
    path = folder / RUN / "metrics.jsonl"
    text = path.read_text() if path.exists() else ""
    return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]


def resumed(folder: Path, said: str) -> str:
    """All steps are made; none of the updates is there twice."""
    updates = [line["update"] for line in lines(folder)]
    assert updates == list(range(1, len(updates) + 1))
    assert "Done." in said
    return f"done: {lines(folder)[-1]['step']:,} steps"


def told(pattern: str) -> Callable[[Path, str], str]:
    """A command that must say this; what it said of it."""

    def after(folder: Path, said: str) -> str:
        found = re.search(pattern, said)
        assert found, f"{pattern!r} is not in {said!r}"
        return " ".join(found[0].split())

    return after


def three_seeds(folder: Path, said: str) -> str:
    """Three runs are done."""
    done = len([*folder.glob("runs/ppo/seed-*/summary.json")])
    other = len([*folder.glob("runs/trpo/seed-*/summary.json")])
    assert other in (0, 3)
    assert done == 3
    return "three runs done"


def compared(folder: Path, said: str) -> str:
    """A table of two groups, and a page."""
    rows = [line for line in said.splitlines() if re.search(r"\b(ppo|trpo)\b", line)]
    assert len(rows) >= 2, said
    assert 10_000 < (folder / "compare.html").stat().st_size < 2_000_000
    return "a table of two groups, and compare.html"


AFTER: dict[str, Callable[[Path, str], str]] = {
    "klamp resume": resumed,
    "klamp eval": told(r"return.*"),
    "klamp explain": told(r"The mean return\s+went from [-\d.]+ to [-\d.]+"),
    "klamp train": three_seeds,
    "klamp compare": compared,
    "klamp export": told(r".*policy\.onnx.*"),
    "python act.py": told(r"8 steps, reward 1\.0"),
}
"""What must be so after each command, by how the command begins; in words."""


def walk(folder: Path, programs: Path) -> list[Step]:
    """Do all that the page says in an empty folder, with the programs of that one."""
    # Where this one is run in the background, Ctrl-C would be ignored by all that it begins.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    page = PAGE.read_text(encoding="utf-8")
    for name, source in files(page).items():
        (folder / name).write_text(source)
    todo = [line for line in commands(page) if not line.startswith("pip ")]
    variables = {**os.environ, "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}"}
    variables |= {"TERM": "xterm-256color", "COLUMNS": "80", "LINES": "40"}
    train, board, ctrl_c, *rest = todo
    assert (board, ctrl_c) == ("klamp board", "^C")
    steps = watched(train, board, rest[0], folder, variables)
    for command in rest:
        began = time.monotonic()
        done = subprocess.run(
            ["sh", "-c", command], cwd=folder, env=variables, capture_output=True, text=True,
            check=False,
        )  # fmt: skip
        said = done.stdout + done.stderr
        assert done.returncode == 0, f"`{command}` ended with {done.returncode}: {said}"
        kind = " ".join(command.split()[:2])
        steps.append(Step(command, AFTER[kind](folder, said), time.monotonic() - began))
    return steps


def watched(
    train: str, board: str, then: str, folder: Path, variables: dict[str, str]
) -> list[Step]:
    """Train on a terminal with a board beside it, and stop as soon as both have shown a return."""
    began = time.monotonic()
    terminal = Terminal(train, folder, variables)
    terminal.until(lambda: len(lines(folder)) > 2 and "explained variance" in terminal.shown)
    steps = [Step(train, "the terminal shows return, KL, entropy …", time.monotonic() - began)]
    began = time.monotonic()
    with beside(board, folder, variables) as address:

        def shown() -> bool:
            with urllib.request.urlopen(address, timeout=30) as answer:
                return b"Corridor" in answer.read()

        terminal.until(shown)
        steps.append(Step(board, "the page shows the run", time.monotonic() - began))
        began = time.monotonic()
        code = terminal.ctrl_c()
    assert code == 130, f"{code} after Ctrl-C: {terminal.shown[-2000:]}"
    assert then in " ".join(terminal.shown.split()), terminal.shown[-2000:]
    steps.append(Step("^C", f"130, and `{then}`", time.monotonic() - began))
    return steps


def as_installed(folder: Path) -> Path:
    """Programs `klamp` and `python` of this Python, as an installation makes them."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    module, function = project["scripts"]["klamp"].split(":")
    folder.mkdir()
    script = folder / "script.py"
    script.write_text(
        f"import sys\n\nfrom {module} import {function}\n\n"
        f"if __name__ == '__main__':\n    sys.exit({function}())\n"
    )
    for name, file in (("klamp", f'"{script}"'), ("python", "")):
        program = folder / name
        program.write_text(f'#!/bin/sh\nexec "{sys.executable}" {file} "$@"\n')
        program.chmod(0o755)
    return folder


def installed(folder: Path) -> tuple[Path, Step]:
    """An environment of its own, with what the page has its reader install."""
    (line,) = (each for each in commands(PAGE.read_text(encoding="utf-8")) if each[:4] == "pip ")
    began = time.monotonic()
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    variables = {**os.environ, "PATH": f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}"}
    variables.pop("PYTHONPATH", None)
    subprocess.run(["sh", "-c", f"{line} --quiet"], cwd=ROOT, env=variables, check=True)
    return folder / "bin", Step(line, "an environment of its own", time.monotonic() - began)


def page_of(steps: list[Step]) -> str:
    """What `results/walk.md` says."""
    made, here = provenance(), machine()
    minutes = sum(step.seconds for step in steps) / 60
    return "\n".join(
        [
            "# The way of a new user",
            "",
            "`docs/own-task.md`, typed as it stands into an empty folder by "
            f"`python benchmarks/walk.py` at commit {made.get('commit', '?')} on "
            f"{here['processor']}, {here['cores']} cores. All of it takes {minutes:.1f} minutes, "
            f"in which {MINUTES} are allowed; reading and typing come on top.",
            "",
            "| step | what was seen | seconds |",
            "|---|---|---|",
            *(f"| `{step.did}` | {step.saw} | {step.seconds:.1f} |" for step in steps),
            "",
        ]
    )


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--install", action="store_true")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        here, steps = Path(name), list[Step]()
        if given.install:
            os.environ.pop("PYTHONPATH", None)
            programs, step = installed(here / "environment")
            steps.append(step)
        else:
            programs = as_installed(here / "programs")
        (here / "empty").mkdir()
        steps += walk(here / "empty", programs)
    print(page_of(steps))
    write(RESULTS / "walk.md", page_of(steps))
    return int(sum(step.seconds for step in steps) > 60 * MINUTES)


if __name__ == "__main__":
    sys.exit(main())
