"""Every promise broken on purpose, to see that the judge sees it."""

import argparse
import json
import re
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

from case import Promise
from processes import STOPPING, Verdict, in_child, next_of, promise_of, side_by_side

RESULTS = Path(__file__).parents[1] / "results"
PLANTED_TRIES = 24
"""A planted fault must be found within so many cases: one of TRPO does nothing in the runs of other
algorithms."""


def planted(chosen: list[Promise], given: argparse.Namespace) -> int:
    """Plant each fault into cases of its promise until one reports it."""
    rows, whole = planted_before(given.log)
    known = {(promise, plant) for promise, plant, _, _ in rows}
    everything = [(promise, plant) for promise in chosen for plant in promise.plants]
    queue = iter([(one, plant) for one, plant in everything if (one.name, plant) not in known])

    def work() -> None:
        while (item := next_of(queue)) is not None:
            promise, plant = item
            verdict, tries = find(promise, plant, given.seed, whole)
            if STOPPING.number:
                return
            rows.append((promise.name, plant, verdict, tries))
            if given.log is not None:
                told = [promise.name, plant, verdict and asdict(verdict), tries]
                known_whole = [asdict(one) for one in whole.values()]
                with given.log.open("a") as file:
                    file.write(json.dumps({"planted": told, "whole": known_whole}) + "\n")
            found = f"found by case {verdict.case}: {verdict.text}" if verdict else "NOT FOUND"
            print(f"{promise.name} [{plant}]: {found}", flush=True)

    side_by_side(work, given.jobs)
    if STOPPING.number:
        return 128 + STOPPING.number
    order = {(promise.name, plant): i for i, (promise, plant) in enumerate(everything)}
    rows = sorted((row for row in rows if row[:2] in order), key=lambda row: order[row[:2]])
    if not given.only:
        write_planted(rows)
    return int(any(verdict is None for _, _, verdict, _ in rows))


Row = tuple[str, str, Verdict | None, int]
"""A promise, a fault, what found it, and after how many cases."""


def planted_before(log: Path | None) -> tuple[list[Row], dict[int, Verdict]]:
    """What a log knows of faults, and of cases without; a line taken out of it is done again."""
    rows: list[Row] = []
    whole: dict[int, Verdict] = {}
    for line in [] if log is None or not log.exists() else log.read_text().splitlines():
        with suppress(ValueError, TypeError, KeyError):
            told = json.loads(line)
            name, plant, of, tries = told["planted"]
            rows.append((name, plant, of and Verdict(**of), tries))
            whole |= {one["case"]: Verdict(**one) for one in told["whole"]}
    return rows, whole


def find(
    promise: Promise, plant: str, seed: int, whole: dict[int, Verdict]
) -> tuple[Verdict | None, int]:
    """The first case that reports a planted fault, and without it holds or says another thing.

    ``whole`` has the verdicts of cases without a fault, which several faults ask for.
    """
    number, tries = seed * 1_000_000, 0
    while tries < PLANTED_TRIES and not STOPPING.number:
        number += 1
        if promise_of(number).name != promise.name:
            continue
        tries += 1
        verdict = in_child(number, plant)
        if verdict.held or verdict.text.startswith(("raised: ", "the case ended with")):
            continue  # a fault that cannot even be planted is not found
        if number not in whole:
            whole[number] = in_child(number)
        if kind_of(whole[number]) != kind_of(verdict):
            return verdict, tries
    return None, tries


def kind_of(verdict: Verdict) -> str:
    """What differs, whatever the numbers: moments of signals are not the same twice."""
    return "" if verdict.held else re.sub(r"\d[\d.e+-]*", "#", verdict.text.split(" (in ")[0])


def write_planted(rows: list[Row]) -> None:
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
