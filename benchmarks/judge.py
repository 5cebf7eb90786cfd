"""An independent judge of what README and docs promise.

    python benchmarks/judge.py --minutes 60 --seed 0    # random cases; results/judge.md
    python benchmarks/judge.py --case 12345             # exactly that case again
    python benchmarks/judge.py --planted                # are broken promises found?
    python benchmarks/judge.py --only updates --minutes 5
    python benchmarks/judge.py --minutes 60 --log FILE  # the same command goes on when it was ended

It shares no code with the package: it calls the names of ``import klamp`` and the command line,
reads the files of a run by itself, and computes in float64 with numpy from the definitions. Each
case is a process of its own with a limit, so that one that hangs is a difference too. A promise is
a file in ``judge_cases``; there, too, stands what is broken on purpose to see that the judge would
see it. Exits with 1 where anything differed, or where a planted fault was not found; with 128 + n
where signal n ended it, after the table of what there was.
"""

import argparse
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import uuid
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from itertools import count
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE / "judge_cases"))

import numpy as np  # noqa: E402
from case import Case, Difference, Promise, ended_with  # noqa: E402
from table import PROMISES  # noqa: E402

RESULTS = HERE / "results"
PLANTED_TRIES = 12
"""A planted fault must be found within so many cases."""


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


def main() -> int:
    """Judge one case, the planted faults, or for some minutes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=1, help="cases at a time")
    parser.add_argument("--only", default="", help="promises, by names with commas between")
    parser.add_argument("--log", type=Path, help="keeps what was judged, to go on with it")
    parser.add_argument("--case", type=int, help="repeat one case")
    parser.add_argument("--plant", default="", help="a fault to plant into these cases")
    parser.add_argument("--planted", action="store_true", help="plant every fault in turn")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.case is not None:
        return one_case(given.case, given.plant, as_child=given.child)
    chosen = [p for p in PROMISES if not given.only or p.name in given.only.split(",")]
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) != signal.SIG_IGN:  # as under nohup
            signal.signal(number, STOPPING)
    if given.planted:
        return planted(chosen, given)
    return hunt(chosen, given)


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


def in_child(number: int, plant: str = "") -> Verdict:
    """Judge one case in a process of its own, killed with all its children after the limit.

    All of them carry a mark among their variables, and use one folder for what is temporary: the
    processes of klamp are in groups of their own, so that the group is not enough to find them.
    """
    promise, mark = promise_of(number), uuid.uuid4().hex
    words = [sys.executable, __file__, "--child", "--case", str(number), "--plant", plant]
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
        out, err = process.communicate(timeout=promise.limit_s)
    except subprocess.TimeoutExpired:
        out, err = "", f"no end within {promise.limit_s:.0f} s"
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
    root = HERE.parent
    return os.environ | {
        "PYTHONPATH": os.pathsep.join((str(root / "src"), str(HERE / "judge_cases"))),
        "JAX_PLATFORMS": "cpu",
        "KLAMP_CACHE": str(Path(tempfile.gettempdir()) / "klamp-judge-cache"),
        "OMP_NUM_THREADS": "1",
        # Where the key lies that runs are signed with: not among the user's own.
        "XDG_STATE_HOME": str(Path(tempfile.gettempdir()) / "klamp-judge-state"),
    }


def hunt(chosen: list[Promise], given: argparse.Namespace) -> int:
    """Cases until the time is over; then the table."""
    verdicts = judged_before(given.log)
    names, judged = {promise.name for promise in chosen}, {v.case for v in verdicts}
    spent = sum(v.seconds for v in verdicts) / given.jobs
    began = time.monotonic() - spent
    end = began + 60 * given.minutes

    def numbers():
        fresh = (n for n in count(given.seed * 1_000_000) if n not in judged)
        ours = (n for n in fresh if promise_of(n).name in names)
        if not verdicts:
            yield next(ours)
        while time.monotonic() < end and not STOPPING.number:
            yield next(ours)

    queue = numbers()

    def work() -> None:
        while (number := next_of(queue)) is not None:
            verdict = in_child(number, given.plant)
            if STOPPING.number:
                return  # what was interrupted says nothing
            verdicts.append(verdict)
            if given.log is not None:
                with given.log.open("a") as file:
                    file.write(json.dumps(asdict(verdict)) + "\n")
            print(verdict.line(), flush=True)
            if len(verdicts) % 10 == 0:
                print(progress(verdicts, time.monotonic() - began, given.minutes), flush=True)

    side_by_side(work, given.jobs)
    found = [v for v in verdicts if not v.held]
    minutes = (time.monotonic() - began) / 60
    print(progress(verdicts, 60 * minutes, given.minutes), flush=True)
    if not given.only and not given.plant:
        write_hunt(chosen, verdicts, given, minutes)
    if found:
        first = min(found, key=lambda v: v.case)
        print(f"\n{len(found)} of {len(verdicts)} cases differ. The first: {first.text}")
        print(f"    python benchmarks/judge.py --case {first.case}")
    return 128 + STOPPING.number if STOPPING.number else int(bool(found))


def progress(verdicts: list[Verdict], seconds: float, minutes: float) -> str:
    """How far the hunt is."""
    found = sum(not v.held for v in verdicts)
    return (
        f"--- {seconds / 60:.1f} of {minutes:g} minutes: {len(verdicts)} cases, "
        f"{len(verdicts) / max(seconds / 60, 1e-3):.1f} a minute, {found} differ"
    )


def judged_before(log: Path | None) -> list[Verdict]:
    """The verdicts of a log; a case whose line is taken out of it is judged again.

    A line that was cut off, where the judge was killed as it wrote, is taken out.
    """
    if log is None or not log.exists():
        return []
    found: list[Verdict] = []
    lines = log.read_text().splitlines()
    for line in lines:
        with suppress(ValueError, TypeError):
            found.append(Verdict(**json.loads(line)))
    if len(found) < len(lines) or not log.read_text().endswith("\n"):
        log.write_text("".join(json.dumps(asdict(verdict)) + "\n" for verdict in found))
    return found


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


def planted(chosen: list[Promise], given: argparse.Namespace) -> int:
    """Plant each fault into cases of its promise until one reports it."""
    rows: list[tuple[str, str, Verdict | None, int]] = []
    waiting = [(promise, plant) for promise in chosen for plant in promise.plants]
    queue = iter(waiting)

    def work() -> None:
        while (item := next_of(queue)) is not None:
            promise, plant = item
            verdict, tries = find(promise, plant, given.seed)
            if STOPPING.number:
                return
            rows.append((promise.name, plant, verdict, tries))
            found = f"found by case {verdict.case}: {verdict.text}" if verdict else "NOT FOUND"
            print(f"{promise.name} [{plant}]: {found}", flush=True)

    side_by_side(work, given.jobs)
    if STOPPING.number:
        return 128 + STOPPING.number
    order = {(promise.name, plant): i for i, (promise, plant) in enumerate(waiting)}
    rows.sort(key=lambda row: order[row[:2]])
    if not given.only:
        write_planted(rows)
    return int(any(verdict is None for _, _, verdict, _ in rows))


def find(promise: Promise, plant: str, seed: int) -> tuple[Verdict | None, int]:
    """The first case that reports a planted fault, and without it holds or says another thing."""
    number, tries = seed * 1_000_000, 0
    while tries < PLANTED_TRIES and not STOPPING.number:
        number += 1
        if promise_of(number).name != promise.name:
            continue
        tries += 1
        verdict = in_child(number, plant)
        if not verdict.held and kind_of(in_child(number)) != kind_of(verdict):
            return verdict, tries
    return None, tries


def kind_of(verdict: Verdict) -> str:
    """What differs, whatever the numbers: moments of signals are not the same twice."""
    return "" if verdict.held else re.sub(r"\d[\d.e+-]*", "#", verdict.text.split(" (in ")[0])


def write_hunt(chosen: list[Promise], verdicts: list[Verdict], given, minutes: float) -> None:
    """results/judge.md: cases and differences of each promise."""
    cases = Counter(v.promise for v in verdicts)
    broken = Counter(v.promise for v in verdicts if not v.held)
    seconds = Counter[str]()
    for verdict in verdicts:
        seconds[verdict.promise] += verdict.seconds
    lines = [
        "# The judge",
        "",
        f"Made by `python benchmarks/judge.py --minutes {given.minutes:g} --seed {given.seed}"
        f" --jobs {given.jobs}`:",
        "random cases, judged from the definitions in float64 by code that is not the package's.",
        "",
        f"{len(verdicts)} cases in {minutes:.0f} minutes of {given.minutes:g}, "
        f"{sum(broken.values())} differ. Commit {commit()}, {time.strftime('%Y-%m-%d')}.",
        "",
        "| promise | what it says | cases | seconds each | differ |",
        "|---|---|---:|---:|---:|",
        *(
            f"| {p.name} | {p.says} | {cases[p.name]} | "
            f"{seconds[p.name] / max(cases[p.name], 1):.0f} | {broken[p.name]} |"
            for p in chosen
        ),
        f"| all | | {len(verdicts)} | {sum(seconds.values()) / max(len(verdicts), 1):.0f} | "
        f"{sum(broken.values())} |",
    ]
    for verdict in sorted((v for v in verdicts if not v.held), key=lambda v: v.case):
        text = verdict.text.replace("|", "\\|").replace("`", "'")
        again = f"python benchmarks/judge.py --case {verdict.case}"
        lines += ["", f"`{again}` ({verdict.promise}): {text}"]
    (RESULTS / "judge.md").write_text("\n".join(lines) + "\n")


def commit() -> str:
    """The commit that was judged."""
    told = subprocess.run(
        ["git", "-C", HERE, "describe", "--always", "--dirty", "--exclude=*"],
        capture_output=True,
        text=True,
        check=False,
    )
    return told.stdout.strip() or "unknown"


def write_planted(rows: list[tuple[str, str, Verdict | None, int]]) -> None:
    """results/judge_planted.md: which planted fault was found."""
    lines = [
        "# Planted faults",
        "",
        "Made by `python benchmarks/judge.py --planted`: every promise is broken on purpose. A",
        "fault counts as found by a case that reports it, and without it holds or reports another.",
        "",
        "| promise | fault | found | after cases | what was said |",
        "|---|---|---|---|---|",
    ]
    for name, plant, verdict, tries in rows:
        said = verdict.text.replace("|", "\\|").replace("`", "'")[:200] if verdict else ""
        lines.append(f"| {name} | {plant} | {'yes' if verdict else '**no**'} | {tries} | {said} |")
    found = sum(verdict is not None for _, _, verdict, _ in rows)
    lines += ["", f"{found} of {len(rows)} were found."]
    (RESULTS / "judge_planted.md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    sys.exit(main())
