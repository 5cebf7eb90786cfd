"""Ten seeds by the command line: together, or one run after the other, as the work says."""

import subprocess
import sys
import tempfile
from pathlib import Path

from systems.common import Measurement, Work, main, reached, versions


def klamp(*arguments: str) -> str:
    """Run the command; what it printed."""
    done = subprocess.run(
        [sys.executable, "-m", "klamp", *arguments], capture_output=True, text=True, check=False
    )
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise SystemExit(f"`klamp {' '.join(arguments)}` failed: {last}")
    return done.stdout


def measure(work: Work) -> Measurement:
    """From the start of the first process to the end of the last."""
    if work["together"] and "--seeds" not in klamp("train", "--help"):
        raise SystemExit("this klamp has no `--seeds`")
    seeds, steps = work["seeds"], work["steps"]
    common = ("train", work["env"], "--algo", work["algorithm"], "--steps", str(steps))
    with tempfile.TemporaryDirectory() as folder:
        if work["together"]:
            klamp(*common, "--seeds", str(seeds), "--out", str(Path(folder) / "runs"))
        else:
            for seed in range(seeds):
                klamp(*common, "--seed", str(seed), "--out", str(Path(folder) / f"run-{seed}"))
    result = reached(work, seeds * steps, spawned_children=True)
    return result | {"versions": versions("klamp", "jax", "jaxlib", "gymnasium", "numpy")}


if __name__ == "__main__":
    main(measure)
