"""What klamp learns by its presets, beside Stable-Baselines3 and sb3-contrib at their zoo's.

``python benchmarks/learning.py`` makes every run of every row of ``learning_rows.py`` that is not
in `results/learning.jsonl` yet, one line per run, and writes `results/learning.md`. Killed at any
moment, the same command goes on. A run counts for a row where its whole configuration is what the
preset says today, so that a row whose preset changed is run again.
"""

import argparse
import fnmatch
import sys
from pathlib import Path

import campaign
import harness
from interpreters import Interpreters
from learning_page import page, runs_that_are_there
from learning_picture import picture
from learning_rows import ROWS


def main() -> int:
    """Parse, make what is missing, write the page."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--rows", nargs="+", default=["*"], help="patterns such as 'Hopper-*'")
    parser.add_argument("--seeds", type=int, nargs="+", help="these seeds only")
    parser.add_argument("--steps", type=int, help="this many steps instead, for a trial")
    parser.add_argument("--processes", type=int, default=1, help="runs at a time, one core each")
    parser.add_argument("--list", action="store_true", help="only say what is missing")
    parser.add_argument("--use", action="append", default=[], metavar="GROUP=PYTHON")
    parser.add_argument("--out", type=Path, default=harness.RESULTS, help="folder of the results")
    options = parser.parse_args()
    rows = [row for row in ROWS if any(fnmatch.fnmatch(row.name, each) for each in options.rows)]
    if not rows:
        raise SystemExit(f"No row is called {options.rows}: {', '.join(r.name for r in ROWS)}")
    jobs = [job for row in rows for job in row.jobs(options.seeds, options.steps)]
    results = campaign.Results(options.out.resolve() / "learning.jsonl")
    results.refresh()
    missing = [job for job in jobs if results.of(job) is None]
    print(f"{len(jobs) - len(missing)} of {len(jobs)} runs are there.", flush=True)
    if options.list:
        print("\n".join(map(str, missing)))
        return 0
    pythons = interpreters(options.use, {job.system for job in missing})
    made = [job for job in missing if job.system in pythons]
    campaign.run(lambda: made, results, pythons, processes=options.processes)
    present = runs_that_are_there(results)
    harness.write(results.path.with_suffix(".md"), page(present))
    picture(present, results.path.with_suffix(".png"))
    return int(any(results.of(job) is None for job in jobs))


def interpreters(given: list[str], systems: set[str]) -> dict[str, str]:
    """The interpreter of each system; without one where its libraries cannot be installed."""
    pythons = Interpreters(found=dict(each.split("=", 1) for each in given))
    found = {system: pythons.python(campaign.GROUPS[system]) for system in sorted(systems)}
    return {system: python for system, python in found.items() if python is not None}


if __name__ == "__main__":
    sys.exit(main())
