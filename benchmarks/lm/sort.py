"""How soon the first task is learnt: ``python benchmarks/lm/sort.py [--seeds 3]``, on two cores.

`klamp lm train sort --max-kl 0.01` from nothing, its supervised start and all compiling included: a
first time with no compiled program on the disk, and then with other seeds and those programs.
Seconds are from the start of the process. Written to `results/lm/sort.md`.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from harness import RESULTS, environment, machine, provenance, write

CHILD = """
import json, sys, time
began, seed, out = float(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
import klamp.lm
firsts = []
result = klamp.lm.train(
    "sort", "ppo", max_kl=0.01, seed=seed, out=out, quiet=True,
    report=lambda event: firsts.append(time.monotonic() - began),
)
made = [line["kl"] for line in result.metrics]
print(json.dumps({
    "seed": seed, "first update, s": firsts[0], "end, s": time.monotonic() - began,
    "tokens": result.summary["step"], "accuracy_greedy": result.summary["accuracy_greedy"],
    "compiling, s": result.summary["compile_s"], "largest KL": max(made),
}))
"""


def one(seed: int, cache: Path) -> dict[str, Any]:
    """A run in a process of its own."""
    with tempfile.TemporaryDirectory() as scratch:
        command = [sys.executable, "-c", CHILD, str(time.monotonic()), str(seed), f"{scratch}/run"]
        variables = environment(2, cache) | {"XLA_FLAGS": os.environ.get("XLA_FLAGS", "")}
        done = subprocess.run(
            command, env=variables, cwd=scratch, capture_output=True, text=True, check=True
        )
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as cache:
        found = []
        for seed in range(given.seeds):
            found.append(one(seed, Path(cache)))
            print(found[-1], flush=True)
    names = list(found[0])
    rows = [f"| {' | '.join(names)} |", "|" + "---|" * len(names)]
    rows += [f"| {' | '.join(f'{run[name]:,.4g}' for name in names)} |" for run in found]
    about = "; ".join(f"{key}: {value}" for key, value in (machine() | provenance()).items())
    head = (
        "# `klamp lm train sort --max-kl 0.01`\n\n`python benchmarks/lm/sort.py`: seconds from the "
        "start of the process, on two cores. The first row has no compiled programs yet; the "
        "others have those of the rows before."
    )
    write(RESULTS / "lm" / "sort.md", "\n".join([head, "", *rows, "", about, ""]))


if __name__ == "__main__":
    main()
