"""An independent judge of what README and docs promise.

    python benchmarks/judge.py --minutes 60 --seed 0    # random cases; results/judge.md
    python benchmarks/judge.py --only processes --page judge_processes.md    # of one promise
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
import signal
import sys
import time
from collections import Counter
from contextlib import suppress
from dataclasses import asdict
from itertools import count
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE / "judge_cases"))

from case import NOTED, Promise  # noqa: E402
from harness import commit_of  # noqa: E402
from planting import planted  # noqa: E402
from processes import (  # noqa: E402
    STOPPING,
    Verdict,
    in_child,
    next_of,
    one_case,
    promise_of,
    side_by_side,
)
from table import PROMISES  # noqa: E402

RESULTS = HERE / "results"


def main() -> int:
    """Judge one case, the planted faults, or for some minutes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=1, help="cases at a time")
    parser.add_argument("--only", default="", help="promises, by names with commas between")
    parser.add_argument("--page", help="of results/, for the table; judge.md where all are judged")
    parser.add_argument("--log", type=Path, help="keeps what was judged, to go on with it")
    parser.add_argument("--limit", type=float, default=1e6, help="seconds that a case may take")
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
            verdict = in_child(number, given.plant, given.limit)
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
    page = given.page or ("" if given.only else "judge.md")
    if page and not given.plant:
        write_hunt(RESULTS / page, chosen, verdicts, given, minutes)
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


def write_hunt(
    page: Path, chosen: list[Promise], verdicts: list[Verdict], given, minutes: float
) -> None:
    """Cases and differences of each promise."""
    cases = Counter(v.promise for v in verdicts)
    broken = Counter(v.promise for v in verdicts if not v.held)
    seconds = Counter[str]()
    for verdict in verdicts:
        seconds[verdict.promise] += verdict.seconds
    lines = [
        "# The judge",
        "",
        f"Made by `python benchmarks/judge.py --minutes {given.minutes:g} --seed {given.seed}"
        f" --jobs {given.jobs}{f' --only {given.only}' if given.only else ''}`:",
        "random cases, judged from the definitions in float64 by code that is not the package's.",
        "",
        f"{len(verdicts)} cases in {minutes:.0f} minutes of {given.minutes:g}, "
        f"{sum(broken.values())} differ. Commit {commit_of(HERE.parent) or 'unknown'}, "
        f"{time.strftime('%Y-%m-%d')}.",
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
    shown = (v for v in verdicts if not v.held or v.text.startswith(NOTED))
    for verdict in sorted(shown, key=lambda v: v.case):
        text = verdict.text.replace("|", "\\|").replace("`", "'")
        again = f"python benchmarks/judge.py --case {verdict.case}"
        lines += ["", f"`{again}` ({verdict.promise}): {text}"]
    page.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    sys.exit(main())
