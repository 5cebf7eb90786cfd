"""Speed beside peers: the same work, the same cores and threads, interleaved.

``python benchmarks/speed.py`` builds the peers' environments once, measures every row, and writes
`results/speed.md`, `speed.json` and `speed.png`; ``--only 'ppo-*'`` measures some rows and keeps
what the files hold of the others. Add a peer by a worker in `systems/` and a system in `rows.py`.
"""

import argparse
import fnmatch
import json
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import harness
import speed_report
from interpreters import Interpreters
from rows import ROWS, SYSTEMS, Row

FORMAT = 2
"""Of `speed.json`; rows kept in another are left out."""

QUICK = {"warmup": 1, "iterations": 1, "seconds": 0.1}
"""What ``--quick`` puts over the protocol: that every worker runs, not how fast."""


def main() -> None:
    """Parse, measure, print, write; after each row, so that a row measured is a row kept."""
    options = arguments()
    rows = [row for row in ROWS if fnmatch.fnmatch(row.name, options.only)]
    if not rows:
        raise SystemExit(f"No row is called {options.only!r}: {', '.join(r.name for r in ROWS)}")
    if options.quick and options.out is None:
        raise SystemExit("`--quick` measures nothing worth keeping: say where to, with --out.")
    folder = options.out or harness.RESULTS
    interpreters = Interpreters(dict(option.split("=", 1) for option in options.use))
    for group in dict.fromkeys(SYSTEMS[name].group for row in rows for name in row.systems):
        interpreters.python(group)
    began = time.monotonic()
    for index, row in enumerate(rows):
        spent = (time.monotonic() - began) / 60
        print(f"[{index + 1}/{len(rows)}, {spent:.0f} min] {row.title}", flush=True)
        part = measure(row, interpreters, options)
        document = merge(load(folder / "speed.json"), {row.name: part})
        write(document, folder)
    print("\n" + (folder / "speed.md").read_text(encoding="utf-8"))
    print(f"Written: {folder}/speed.md, speed.json, speed.png")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--only", default="*", help="rows to run, a pattern such as 'ppo-*'")
    parser.add_argument("--repeats", type=int, default=5, help="interleaved repeats")
    parser.add_argument("--warmup", type=int, default=3, help="iterations before the clock starts")
    parser.add_argument("--iterations", type=int, default=10, help="iterations that are timed")
    parser.add_argument("--seconds", type=float, default=4.0, help="least time of fast systems")
    parser.add_argument("--quick", action="store_true", help="once, briefly: that all workers run")
    parser.add_argument("--out", type=Path, help="folder of the results (benchmarks/results)")
    parser.add_argument(
        "--use",
        action="append",
        default=[],
        metavar="GROUP=PYTHON",
        help="an interpreter that has a group's libraries already",
    )
    return parser.parse_args()


def measure(row: Row, interpreters: Interpreters, options: argparse.Namespace) -> dict[str, Any]:
    """A row: all its systems one after the other, in turning order, repeat by repeat."""
    protocol = {name: getattr(options, name) for name in ("warmup", "iterations", "seconds")}
    protocol |= QUICK if options.quick else {}
    repeats = 1 if options.quick else options.repeats
    machine, about = harness.machine(), harness.provenance()
    del about["date"]
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in row.systems}
    work = (
        asdict(row)
        | row.extra
        | protocol
        | {
            "cores": harness.cores()[: row.cores],
            "wanted_cores": row.cores,
        }
    )
    work |= row.quick if options.quick else {}
    with tempfile.TemporaryDirectory() as cache:
        for name in row.systems:
            if SYSTEMS[name].warm:  # fills the cache, counts for nothing
                _run(name, work | {"seed": 0}, interpreters, Path(cache))
        for repeat in range(repeats):
            for name in row.systems if repeat % 2 == 0 else reversed(row.systems):
                result = _run(name, work | {"seed": repeat}, interpreters, Path(cache))
                runs[name].append(result)
                line = speed_report.one_line(result, row.kind)
                print(f"  {repeat + 1}/{repeats}  {SYSTEMS[name].label:44}{line}", flush=True)
    return {
        "row": asdict(row),
        "protocol": protocol | {"repeats": repeats},
        "klamp": about,
        "machine": machine,
        "runs": runs,
    }


def _run(
    name: str, work: dict[str, Any], interpreters: Interpreters, cache: Path
) -> dict[str, Any]:
    """One measurement, or why there is none."""
    system = SYSTEMS[name]
    python = interpreters.python(system.group)
    if python is None:
        return {"error": interpreters.reasons[system.group]}
    if len(work["cores"]) < work["wanted_cores"]:
        return {"error": f"needs {work['wanted_cores']} cores"}
    kept = cache if system.warm else None
    return harness.run_worker(python, system.module, work | system.extra, kept)


def load(path: Path) -> dict[str, Any]:
    """The rows measured before, by name."""
    if not path.exists():
        return {}
    document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return document["rows"] if document.get("format") == FORMAT else {}


def merge(before: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    """The rows that there are, in their order; the newer measurement of each."""
    known = before | new
    return {row.name: known[row.name] for row in ROWS if row.name in known}


def write(parts: dict[str, Any], folder: Path) -> None:
    """The page, the figures and the plot."""
    names = {name: system.label for name, system in SYSTEMS.items()}
    for row in ROWS:
        if row.name in parts:  # what is wanted today, of a row that was measured before, too
            parts[row.name]["row"]["goals"] = [asdict(goal) for goal in row.goals]
    text = speed_report.page(list(parts.values()), names)
    document = {"format": FORMAT, "rows": parts}
    harness.write(folder / "speed.json", json.dumps(document, indent=1) + "\n")
    harness.write(folder / "speed.md", text)
    speed_report.plot(list(parts.values()), names, folder / "speed.png")


if __name__ == "__main__":
    main()
