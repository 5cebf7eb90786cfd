"""How soon klamp is at work, and where the seconds go: ``python benchmarks/start.py``.

Each figure is of a process of its own on one core, from its start: the command's help, the bare
import, a saved policy's first action, and the first update of `klamp train CartPole-v1` with no
compiled program on the disk and with all of them. Of the last two, imports (until JAX has its
device), tracing and lowering, and XLA's compiling or reading of programs are told apart by JAX's
own events. Written to `results/start.md`.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from harness import RESULTS, cores, environment, machine, provenance, write

HELP = "import klamp.cli.main; klamp.cli.main.main(['--help'])"
IMPORT = "import sys, klamp; assert 'jax' not in sys.modules"
ACT = """
import sys, numpy, klamp
klamp.load(sys.argv[2]).act(numpy.zeros(4, numpy.float32))
"""
UPDATE = """
import collections, json, sys, time
began = float(sys.argv[1])
import jax, klamp, klamp.training
jax.devices()
parts = {"imports": time.monotonic() - began}
kinds = {
    "/jax/core/compile/jaxpr_trace_duration": "tracing and lowering",
    "/jax/core/compile/jaxpr_to_mlir_module_duration": "tracing and lowering",
    "/jax/core/compile/backend_compile_duration": "XLA",
}
firsts, spent = [], collections.Counter()
def heard(name, seconds, **_):
    if name in kinds and not firsts:
        spent[kinds[name]] += seconds
jax.monitoring.register_event_duration_secs_listener(heard)
klamp.train(
    "CartPole-v1", steps=2048, out=sys.argv[2], quiet=True,
    report=lambda event: firsts.append(time.monotonic() - began),
)
print(json.dumps({"all": firsts[0], **parts, **spent}))
"""
PARTS = ("imports", "tracing and lowering", "XLA")


def run(code: str, cache: Path, *arguments: object) -> tuple[float, dict[str, Any]]:
    """Seconds of a process that runs ``code``, and what the last line it prints says."""
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", code, str(began), *map(str, arguments)],
        env=environment(1, cache),
        capture_output=True,
        text=True,
        check=False,
    )
    took = time.monotonic() - began
    if done.returncode:
        raise SystemExit(f"A process failed:\n{done.stderr}")
    last = (done.stdout.splitlines() or [""])[-1]
    return took, json.loads(last) if last.startswith("{") else {}


def row(title: str, seconds: Sequence[float], parts: Sequence[dict[str, float]] = ()) -> str:
    """A line of the table."""
    middle = statistics.median(seconds)
    cells = [title, f"{middle:.2f} s", f"{min(seconds):.2f} to {max(seconds):.2f} s"]
    for name in PARTS:
        found = [part[name] for part in parts if name in part]
        cells.append(f"{statistics.median(found):.2f} s" if found else "")
    return f"| {' | '.join(cells)} |"


def measured(repeats: int, scratch: Path) -> list[str]:
    """The rows; every process is started once before, so that its files are in memory."""
    warm = scratch / "warm"
    kept = scratch / "kept"
    run(UPDATE, warm, kept)
    rows: list[str] = []
    for title, code in (("`klamp --help`", HELP), ("`import klamp`, without JAX", IMPORT)):
        run(code, warm)
        rows.append(row(title, [run(code, warm)[0] for _ in range(repeats)]))
    run(ACT, warm, kept)
    title = "`klamp.load(run).act(observation)`, a policy's first action"
    rows.append(row(title, [run(ACT, warm, kept)[0] for _ in range(repeats)]))
    empty = [scratch / f"cache-{number}" for number in range(repeats)]
    for title, caches in (
        ("first update of PPO, no program compiled before", empty),
        ("first update of PPO, all compiled", [warm] * repeats),
    ):
        found = [
            run(UPDATE, cache, scratch / f"{title}-{number}")[1]
            for number, cache in enumerate(caches)
        ]
        rows.append(row(title, [each["all"] for each in found], found))
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--core", type=int, default=cores()[0])
    given = parser.parse_args()
    os.sched_setaffinity(0, {given.core})
    with tempfile.TemporaryDirectory() as folder:
        rows = measured(given.repeats, Path(folder))
    about = "; ".join(f"{key}: {value}" for key, value in (machine() | provenance()).items())
    head = (
        "# How soon klamp is at work\n\nBy `python benchmarks/start.py`: seconds from the start of "
        f"a process on one core, {given.repeats} processes each, their files in memory.\n\n"
        f"| until | median | range | of it {' | '.join(PARTS)} |\n|---|---:|---:|---:|---:|---:|"
    )
    write(RESULTS / "start.md", "\n".join([head, *rows, "", about, ""]))
    print(*rows, sep="\n")


if __name__ == "__main__":
    main()
