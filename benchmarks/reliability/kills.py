"""SIGKILL at random moments, resume, compare every byte with the run that was never stopped.

    python benchmarks/reliability/kills.py [--kills 200] [--only 'PPO*'] [--seed 0]

Each configuration is trained once in peace. Then it is trained in processes that are killed: at a
random time of the loop, at a random call to the disk (before it or after it), or while starting,
and gone on with by ``klamp.resume`` until it is done. The last checkpoint and the metrics must be
the same bytes, times apart. Writes ``results/kills.md``; exits with 1 where anything differed.
"""

import argparse
import fnmatch
import random
import sys
import tempfile
from pathlib import Path

from lives import (
    Kill,
    cases,
    clock,
    contents,
    differences,
    draw_kill,
    one_life,
    processes,
    readable,
)

RESULTS = Path(__file__).parents[1] / "results" / "kills.md"
STEPS = 96 * 60


def main() -> int:
    """Run all, say how it went, write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--only", default="*")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    chosen = {name: case for name, case in cases().items() if fnmatch.fnmatch(name, given.only)}
    share = -(-given.kills // len(chosen))
    rows: list[tuple[str, int, int, int, int]] = []
    context = processes()
    for number, (name, case) in enumerate(chosen.items()):
        with tempfile.TemporaryDirectory() as place:
            draw = random.Random(given.seed + number)
            row = torment(context, case, STEPS, Path(place), share, draw)
        rows.append((name, *row))
        print(
            f"{name}: {row[0]} kills, {row[1]} runs ended, {row[2]} differences, "
            f"{row[3]} unreadable",
            flush=True,
        )
    if given.only == "*":
        write(rows)
    return int(any(row[3] or row[4] for row in rows))


def torment(
    context, case, steps: int, place: Path, due: int, draw: random.Random
) -> tuple[int, int, int, int]:
    """Kills, runs that came to their end, differences, unreadable folders."""
    peace = Kill("none")
    assert one_life(context, case, steps, place / "calm", peace) == 0, case
    began = clock()
    assert one_life(context, case, steps, place / "calm again", peace) == 0
    length = clock() - began
    expected = contents(place / "calm")
    wrong = len(differences(expected, contents(place / "calm again")))
    kills = ended = unreadable = 0
    while kills < due:
        folder = place / f"run {ended}"
        while True:
            # After enough kills the run is let go, so that its end can be compared.
            kill = draw_kill(draw, length / 4) if kills < due else peace
            code = one_life(context, case, steps, folder, kill)
            if code == 0:
                break
            if code != -9:
                print(f"  {case}: exit code {code} after {kill}", flush=True)
                return kills, ended, wrong + 1, unreadable
            kills += 1
            unreadable += not readable(folder)
        found = differences(expected, contents(folder))
        if found:
            print(f"  {case}: differs in {found}", flush=True)
        wrong, ended = wrong + len(found), ended + 1
    return kills, ended, wrong, unreadable


def write(rows: list[tuple[str, int, int, int, int]]) -> None:
    """The table."""
    lines = [
        "# Kills",
        "",
        "Made by `python benchmarks/reliability/kills.py`: SIGKILL at random times of the loop",
        "(60 of 100), at random calls to the disk (30) and while starting (10), each followed by a",
        f"resume; the run ({STEPS:,} steps) is compared with one that was never stopped, byte for",
        "byte: every number of the last checkpoint, every line of metrics (times apart).",
        "",
        *table(rows),
    ]
    RESULTS.write_text("\n".join(lines) + "\n")


def table(rows: list[tuple[str, int, int, int, int]]) -> list[str]:
    """One line for each configuration, and their sums."""
    sums = " | ".join(str(sum(row[i] for row in rows)) for i in range(1, 5))
    return [
        "| configuration | kills | runs that ended | differing items | unreadable latest |",
        "|---|---|---|---|---|",
        *(f"| {name} | {a} | {b} | {c} | {d} |" for name, a, b, c, d in rows),
        f"| all {len(rows)} | {sums} |",
    ]


if __name__ == "__main__":
    sys.exit(main())
