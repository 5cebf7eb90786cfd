"""Runs of several processes that `distributed.py` starts, and what it has found so far."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
RESULTS, TABLE = HERE / "results" / "distributed.jsonl", HERE / "results" / "distributed.md"
LIMIT_S = 10.0
"""Seconds of silence after which a process counts as lost."""


def launched(*words: str, processes: int = 2) -> subprocess.Popen[str]:
    """`klamp launch` of so many processes."""
    command = [sys.executable, "-m", "klamp", "launch", "--processes", str(processes), "--", *words]
    limits = ["--join-timeout-s", "120", "--lost-after-s", str(LIMIT_S)]
    return subprocess.Popen([*command, *limits], stderr=subprocess.PIPE, text=True)


def run(processes: int, *words: str) -> None:
    """A command by so many processes; by itself where that is one."""
    if processes == 1:
        process = subprocess.Popen(
            [sys.executable, "-m", "klamp", *words], stderr=subprocess.PIPE, text=True
        )
    else:
        process = launched(*words, processes=processes)
    _, said = process.communicate()
    if process.returncode:
        raise SystemExit(f"{' '.join(words)} by {processes} processes failed:\n{said}")


def lines_of(folder: Path) -> list[dict[str, Any]]:
    """The metrics of a run."""
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def rows(kind: str) -> list[dict[str, Any]]:
    """The results so far."""
    if not RESULTS.exists():
        return []
    return [row for row in map(json.loads, RESULTS.read_text().splitlines()) if row["kind"] == kind]


def add(row: dict[str, Any]) -> None:
    """One more result."""
    with RESULTS.open("a") as file:
        file.write(json.dumps(row) + "\n")
    print(row, flush=True)


def steps_per_second(folder: Path) -> float:
    """Over the second half of a run."""
    lines = lines_of(folder)
    middle, last = lines[len(lines) // 2], lines[-1]
    return (last["step"] - middle["step"]) / (last["time_s"] - middle["time_s"])
