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
see it. Exits with 1 where anything differed, or where a planted fault was not found.
"""

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from itertools import count
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE / "judge_cases"))

import numpy as np  # noqa: E402
from case import Case, Difference, Promise  # noqa: E402
from table import PROMISES  # noqa: E402

RESULTS = HERE / "results"
PLANTED_TRIES = 12
"""A planted fault must be found within so many cases."""


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
    if given.planted:
        return planted(chosen, given)
    return hunt(chosen, given)


def one_case(number: int, plant: str, *, as_child: bool) -> int:
    """Judge one case in this process."""
    promise, began = promise_of(number), time.monotonic()
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


def in_child(number: int, plant: str = "") -> Verdict:
    """Judge one case in a process of its own, killed with all its children after the limit."""
    promise = promise_of(number)
    words = [sys.executable, __file__, "--child", "--case", str(number), "--plant", plant]
    began = time.monotonic()
    process = subprocess.Popen(
        words,
        env=surroundings(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        out, err = process.communicate(timeout=promise.limit_s)
    except subprocess.TimeoutExpired:
        out, err = "", f"no end within {promise.limit_s:.0f} s"
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    seconds = time.monotonic() - began
    try:
        return replace(Verdict(**json.loads(out.splitlines()[-1])), seconds=seconds)
    except (ValueError, IndexError, TypeError):
        text = f"the case ended with {process.returncode}: {' '.join(err.split())[-300:]}"
        return Verdict(number, promise.name, held=False, text=text, seconds=seconds, plant=plant)


def surroundings() -> dict[str, str]:
    """One thread a case, quickly compiled, compiled programs kept apart from the user's."""
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
    left = 60 * given.minutes - sum(v.seconds for v in verdicts) / given.jobs
    end = time.monotonic() + left

    def numbers():
        fresh = (n for n in count(given.seed * 1_000_000) if n not in judged)
        ours = (n for n in fresh if promise_of(n).name in names)
        yield next(ours)
        while time.monotonic() < end:
            yield next(ours)

    queue = numbers()

    def work() -> None:
        while (number := next_of(queue)) is not None:
            verdict = in_child(number, given.plant)
            verdicts.append(verdict)
            if given.log is not None:
                with given.log.open("a") as file:
                    file.write(json.dumps(asdict(verdict)) + "\n")
            print(verdict.line(), flush=True)

    side_by_side(work, given.jobs)
    found = [v for v in verdicts if not v.held]
    if not given.only and not given.plant:
        write_hunt(chosen, verdicts, given)
    if found:
        first = min(found, key=lambda v: v.case)
        print(f"\n{len(found)} of {len(verdicts)} cases differ. The first: {first.text}")
        print(f"    python benchmarks/judge.py --case {first.case}")
    return int(bool(found))


def judged_before(log: Path | None) -> list[Verdict]:
    """The verdicts of a log; a case whose line is taken out of it is judged again."""
    if log is None or not log.exists():
        return []
    return [Verdict(**json.loads(line)) for line in log.read_text().splitlines()]


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
            rows.append((promise.name, plant, verdict, tries))
            found = f"found by case {verdict.case}: {verdict.text}" if verdict else "NOT FOUND"
            print(f"{promise.name} [{plant}]: {found}", flush=True)

    side_by_side(work, given.jobs)
    order = {(promise.name, plant): i for i, (promise, plant) in enumerate(waiting)}
    rows.sort(key=lambda row: order[row[:2]])
    if not given.only:
        write_planted(rows)
    return int(any(verdict is None for _, _, verdict, _ in rows))


def find(promise: Promise, plant: str, seed: int) -> tuple[Verdict | None, int]:
    """The first case that reports a planted fault, and without it holds or says another thing."""
    number, tries = seed * 1_000_000, 0
    while tries < PLANTED_TRIES:
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


def write_hunt(chosen: list[Promise], verdicts: list[Verdict], given) -> None:
    """results/judge.md: cases and differences of each promise."""
    cases = Counter(v.promise for v in verdicts)
    broken = Counter(v.promise for v in verdicts if not v.held)
    lines = [
        "# The judge",
        "",
        f"Made by `python benchmarks/judge.py --minutes {given.minutes:g} --seed {given.seed}`:",
        "random cases, judged from the definitions in float64 by code that is not the package's.",
        "",
        "| promise | what it says | cases | differ |",
        "|---|---|---|---|",
        *(f"| {p.name} | {p.says} | {cases[p.name]} | {broken[p.name]} |" for p in chosen),
        f"| all | | {len(verdicts)} | {sum(broken.values())} |",
    ]
    for verdict in sorted((v for v in verdicts if not v.held), key=lambda v: v.case):
        text = verdict.text.replace("|", "\\|").replace("`", "'")
        again = f"python benchmarks/judge.py --case {verdict.case}"
        lines += ["", f"`{again}` ({verdict.promise}): {text}"]
    (RESULTS / "judge.md").write_text("\n".join(lines) + "\n")


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
