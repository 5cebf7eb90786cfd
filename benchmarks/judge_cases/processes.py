"""A case in a process of its own, with a limit, and all that it started ended with it."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from case import Case, Difference, Promise, ended_with
from table import PROMISES

HERE = Path(__file__).parent
JUDGE = HERE.parent / "judge.py"
QUICKLY = "--xla_backend_optimization_level=0 --xla_cpu_use_fusion_emitters=false"
"""Compiling takes half as long so, and most of the time of a case of few steps."""


@dataclass(frozen=True)
class Verdict:
    """What came of one case."""

    case: int
    promise: str
    held: bool
    text: str
    seconds: float
    plant: str = ""

    def line(self) -> str:
        """One line of the log."""
        word = "held" if self.held else "DIFFERS"
        planted = f" [{self.plant}]" if self.plant else ""
        return f"{self.case} {self.promise}{planted}: {word} in {self.seconds:.0f} s: {self.text}"


def promise_of(number: int) -> Promise:
    """Which promise a case is about."""
    shares = np.array([promise.share for promise in PROMISES], float)
    draw = np.random.default_rng([number, 11]).choice(len(PROMISES), p=shares / shares.sum())
    return PROMISES[int(draw)]


def one_case(number: int, plant: str, *, as_child: bool) -> int:
    """Judge one case in this process, in a folder of its own."""
    promise, began = promise_of(number), time.monotonic()
    if promise.quick and number % 5:
        os.environ["XLA_FLAGS"] = QUICKLY
    with tempfile.TemporaryDirectory(prefix=f"judge-{number}-") as folder:
        os.chdir(folder)
        case = Case(number, Path(folder), promise.plants[plant] if plant else None, plant)
        try:
            held, text = True, promise.judge(case)
        except Difference as difference:
            held, text = False, str(difference)
        except Exception:
            held, text = False, "raised: " + " | ".join(traceback.format_exc().splitlines()[-7:])
        os.chdir(HERE)
    verdict = Verdict(number, promise.name, held, text, time.monotonic() - began, plant)
    print(json.dumps(asdict(verdict)) if as_child else verdict.line(), flush=True)
    return int(not held)


class Stopping:
    """Whether the judge was asked to end, and the processes that end with it."""

    def __init__(self) -> None:
        self.number, self._running, self._lock = 0, {}, threading.Lock()

    def __call__(self, number: int, frame: object) -> None:
        """A signal: no further case begins, and those in progress end."""
        self.number = number
        for process, mark in list(self._running.items()):
            ended_with(process, mark)

    def begun(self, process: Any, mark: str) -> None:
        """A process that is to end with the judge."""
        with self._lock:
            self._running[process] = mark
        if self.number:
            ended_with(process, mark)

    def ended(self, process: Any) -> None:
        """It has ended."""
        with self._lock:
            del self._running[process]


STOPPING = Stopping()


def in_child(number: int, plant: str = "", limit_s: float = 1e6) -> Verdict:
    """Judge one case in a process of its own, killed with all its children after a limit.

    That is the promise's, or ``limit_s``, if it is shorter. All of them carry a mark among their
    variables, and use one folder for what is temporary: the processes of klamp are in groups of
    their own, so that the group is not enough to find them.
    """
    promise, mark = promise_of(number), uuid.uuid4().hex
    limit_s = min(limit_s, promise.limit_s)
    words = [sys.executable, str(JUDGE), "--child", "--case", str(number), "--plant", plant]
    began = time.monotonic()
    folder = tempfile.mkdtemp(prefix=f"judge-{number}-")
    process = subprocess.Popen(
        words,
        env=surroundings() | {"JUDGE_MARK": mark, "TMPDIR": folder},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    STOPPING.begun(process, mark)
    try:
        out, err = process.communicate(timeout=limit_s)
    except subprocess.TimeoutExpired:
        out, err = "", f"no end within {limit_s:g} s"
    ended_with(process, mark)
    process.wait()
    STOPPING.ended(process)
    shutil.rmtree(folder, ignore_errors=True)
    seconds = time.monotonic() - began
    try:
        return replace(Verdict(**json.loads(out.splitlines()[-1])), seconds=seconds)
    except (ValueError, IndexError, TypeError):
        text = f"the case ended with {process.returncode}: {' '.join(err.split())[-300:]}"
        return Verdict(number, promise.name, held=False, text=text, seconds=seconds, plant=plant)


def surroundings() -> dict[str, str]:
    """One thread a case; compiled programs kept apart from the user's."""
    root = JUDGE.parents[1]
    return os.environ | {
        "PYTHONPATH": os.pathsep.join((str(root / "src"), str(HERE))),
        "JAX_PLATFORMS": "cpu",
        "KLAMP_CACHE": str(Path(tempfile.gettempdir()) / "klamp-judge-cache"),
        "OMP_NUM_THREADS": "1",
        # Where the key lies that runs are signed with: not among the user's own.
        "XDG_STATE_HOME": str(Path(tempfile.gettempdir()) / "klamp-judge-state"),
    }


def next_of(queue) -> int | None:
    """The next number; workers may ask at once."""
    while True:
        try:
            return next(queue, None)
        except ValueError:  # "generator already executing"
            time.sleep(0.01)


def side_by_side(work, jobs: int) -> None:
    """The same work in several threads, which only wait for processes."""
    with ThreadPoolExecutor(jobs) as pool:
        for future in [pool.submit(work) for _ in range(jobs)]:
            future.result()
