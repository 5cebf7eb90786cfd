"""Standard error closed, full or slow at random moments: the same bytes, and exit code 0.

    python benchmarks/reliability/stderr.py [--moments 50] [--seed 0]

`klamp train` and `klamp.train` tell their progress, a line an update, to a pipe or a terminal whose
reader leaves at a random moment, or reads slowly and pauses, or to a file on a small disk
(`disks.py`) that is filled at a random moment. Every run must exit with 0 and leave the bytes of
one that was read in peace. Writes ``results/stderr.md``; exits with 1 where something was not so.
"""

import argparse
import collections
import contextlib
import fcntl
import json
import os
import pty
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from disks import SmallDisk, inside_a_namespace
from lives import contents, differences

RESULTS = Path(__file__).parents[1] / "results" / "stderr.md"
SETTINGS = {"steps": 25_000, "checkpoint_interval": 5_000, "seed": 3, "rollout_length": 32}
LISTENERS = ("pipe, closed", "terminal, closed", "file, full", "pipe, slow", "terminal, slow")
PROGRAM = """
import json, sys
import klamp.reporting.console
klamp.reporting.console.LINE_EVERY_S = 0.0
settings = json.loads(sys.argv[2])
if sys.argv[3] == "Python":
    klamp.train("CartPole-v1", out=sys.argv[1], **settings)
    sys.exit(0)
from klamp.cli.main import main
options = [f"--{name.replace('_', '-')}={value}" for name, value in settings.items()]
sys.exit(main(["train", "CartPole-v1", "--out", sys.argv[1], *options]))
"""


class Trial(NamedTuple):
    """One run: who listened, by what it was run, and what was not as promised."""

    listener: str
    how: str
    wrong: list[str]


def main() -> int:
    """Run all, say how it went, write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--moments", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    inside_a_namespace()
    draw = random.Random(given.seed)
    trials: list[Trial] = []
    with tempfile.TemporaryDirectory() as place:
        subprocess.run(command(Path(place) / "calm", "Python"), stderr=subprocess.PIPE, check=True)
        began = time.perf_counter()
        subprocess.run(command(Path(place) / "again", "Python"), stderr=subprocess.PIPE, check=True)
        length = time.perf_counter() - began
        expected = contents(Path(place) / "calm")
        disk = SmallDisk(Path(place) / "disk", 2**16)
        try:
            for number in range(given.moments):
                listener = LISTENERS[number % len(LISTENERS)]
                how = draw.choice(("command line", "Python"))
                folder = Path(place) / str(number)
                moment = draw.uniform(0, length)
                code = run(command(folder, how), listener, moment, disk, draw)
                wrong = [] if code == 0 else [f"exit code {code}"]
                wrong += differences(expected, contents(folder)) if code == 0 else []
                trials.append(Trial(listener, how, wrong))
                print(f"{len(trials)}: {trials[-1]}", flush=True)
        finally:
            disk.close()
    RESULTS.write_text(page(trials))
    print(page(trials))
    return int(any(trial.wrong for trial in trials))


def command(folder: Path, how: str) -> list[str]:
    """The same run by the command line or from Python."""
    return [sys.executable, "-c", PROGRAM, str(folder), json.dumps(SETTINGS), how]


def run(
    words: list[str], listener: str, moment: float, disk: SmallDisk, draw: random.Random
) -> int:
    """One run that tells its progress to such a listener; its exit code."""
    if listener == "file, full":
        disk.clear()
        with (disk.place / "log").open("wb") as log, subprocess.Popen(words, stderr=log) as child:
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(moment)
            disk.fill()
            return child.wait()
    ours, theirs = os.pipe() if listener.startswith("pipe") else pty.openpty()
    if listener.startswith("pipe"):
        # Of one page, so that a slow reader is waited for.
        fcntl.fcntl(theirs, fcntl.F_SETPIPE_SZ, 4096)
    with subprocess.Popen(words, stderr=theirs, start_new_session=True) as child:
        os.close(theirs)
        listen(ours, moment if listener.endswith("closed") else None, draw)
        os.close(ours)
        return child.wait()


def listen(ours: int, until: float | None, draw: random.Random) -> None:
    """Read as it comes up to a moment; or without end, slowly and with pauses."""
    began = time.perf_counter()
    os.set_blocking(ours, False)
    while until is None or time.perf_counter() - began < until:
        time.sleep(0.01 if until is not None or draw.random() < 0.99 else draw.uniform(0, 1))
        try:
            if not os.read(ours, 2**16 if until is not None else 128):
                return
        except BlockingIOError:
            pass
        except OSError:  # a terminal that nobody writes to any more
            return


def page(trials: list[Trial]) -> str:
    """The results as a page."""
    counts = collections.Counter((trial.listener, trial.how) for trial in trials)
    lines = [
        "# Standard error",
        "",
        f"Made by `python benchmarks/reliability/stderr.py`: {len(trials)} runs that told their",
        "progress, a line an update, to a reader who left at a random moment, to a disk that was",
        "full from a random moment on, or to a slow reader with pauses. *Wrong*: an exit code",
        "other than 0, or other bytes than those of a run that was read in peace.",
        "",
        "| standard error | run by | runs | wrong |",
        "|---|---|---|---|",
        *(
            f"| {listener} | {how} | {count} | "
            f"{sum(bool(t.wrong) for t in trials if (t.listener, t.how) == (listener, how))} |"
            for (listener, how), count in sorted(counts.items())
        ),
        f"| all | | {len(trials)} | {sum(bool(t.wrong) for t in trials)} |",
        "",
        *(f"- {trial.listener}, {trial.how}: {what}" for trial in trials for what in trial.wrong),
    ]
    return "\n".join(lines).rstrip() + "\n"


if __name__ == "__main__":
    sys.exit(main())
