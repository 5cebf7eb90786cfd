"""A disk that is full from a random moment on, SIGTERM at some: the last line says what is there.

    python benchmarks/reliability/full_disk.py [--moments 50] [--seed 0]

`klamp train` and `klamp.train` write to a small disk of their own (`disks.py`: a real file system,
that is really full), which is filled at a random moment of the run, in a fifth of the runs at one
of the whole life of its process. Half of the runs are sent SIGTERM after it, within the time that
they take for two checkpoints, since they give up at the third that fails; in a fifth there is room
again before the end. There must be no traceback; the exit code and the last line must name the
checkpoint that is there; in Python the result must be that of a run with room, as far as it came.
Then there is room, and `klamp resume` must come to the bytes of the run that was never disturbed.
Writes ``results/full_disk.md``; exits with 1 where something was not so.
"""

import argparse
import collections
import json
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from disks import SmallDisk, inside_a_namespace
from lives import TIMES, contents, differences

RESULTS = Path(__file__).parents[1] / "results" / "full_disk.md"
SIZE = 2 * 2**20
SETTINGS = {"steps": 120_000, "checkpoint_interval": 15_000, "seed": 3, "rollout_length": 64}
TWO_CHECKPOINTS = 2 * SETTINGS["checkpoint_interval"] / SETTINGS["steps"]
"""The share of a run between two checkpoints and the next but one."""
PROGRAM = """
import json, sys
import numpy as np
import klamp
from klamp.errors import NotSaved

try:
    result = klamp.train("CartPole-v1", quiet=True, out=sys.argv[1], **json.loads(sys.argv[2]))
    code, line = (0, "") if result.unsaved is None else (74, result.unsaved)
except NotSaved as error:
    result, code, line = error.result, 74, str(error)
except klamp.RunFolderError as error:
    result, code, line = None, 2, str(error)
except klamp.Stopped as stopped:
    result, code, line = None, stopped.code, str(stopped)
if result is not None:
    print(json.dumps([np.asarray(result.policy.theta).tobytes().hex(), result.metrics]))
print(line, file=sys.stderr)
sys.exit(code)
"""


class Trial(NamedTuple):
    """One run: how it was disturbed, how it ended, and what was not as promised."""

    python: bool
    sent: bool | None
    """Whether it was still there when SIGTERM was sent; None where none was to be sent."""
    code: int
    wrong: list[str]


def words(folder: Path) -> list[str]:
    """The same run by the command line."""
    options = [word for name, value in SETTINGS.items() for word in (f"--{name}", str(value))]
    options = [word.replace("_", "-") for word in options]
    start = [sys.executable, "-m", "klamp", "train", "CartPole-v1"]
    return [*start, *options, "--quiet", "--out", str(folder)]


def main() -> int:
    """Run all, say how it went, write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--moments", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    inside_a_namespace()
    # A run that is stopped before its first step says so when it is gone on with.
    warnings.simplefilter("ignore")
    draw = random.Random(given.seed)
    with tempfile.TemporaryDirectory() as place:
        calm = Path(place) / "calm"
        subprocess.run(words(calm), check=True)
        began = time.perf_counter()
        subprocess.run(words(Path(place) / "again"), check=True)
        length = time.perf_counter() - began
        disk = SmallDisk(Path(place) / "disk", SIZE)
        try:
            trials: list[Trial] = []
            for _ in range(given.moments):
                trials.append(tried(disk, calm, length, draw))
                print(f"{len(trials)}: {trials[-1]}", flush=True)
                disk.clear()
        finally:
            disk.close()
    RESULTS.write_text(page(trials))
    print(page(trials))
    return int(any(trial.wrong for trial in trials))


def tried(disk: SmallDisk, calm: Path, length: float, draw: random.Random) -> Trial:
    """One run on a disk that is full from a random moment on."""
    import klamp

    folder, python = disk.place / "run", draw.random() < 0.4
    command = words(folder)
    if python:
        command = [sys.executable, "-c", PROGRAM, str(folder), json.dumps(SETTINGS)]
    with (
        tempfile.TemporaryFile("w+") as out,
        subprocess.Popen(command, stdout=out, stderr=subprocess.PIPE, text=True) as process,
    ):
        sent = disturb(disk, process, folder, calm, length, draw)
        said = process.communicate(timeout=300)[1]
        out.seek(0)
        told = out.read()
    wrong = judged(folder, python, process.returncode, told, said, calm)
    disk.make_room()
    if (folder / "config.json").exists():
        try:
            klamp.resume(folder, quiet=True)
            wrong += differences(contents(calm), contents(folder))
        except klamp.KlampError as error:
            wrong.append(f"the run cannot be gone on with: {error}")
    return Trial(python, sent, process.returncode, wrong)


def disturb(
    disk: SmallDisk,
    process: subprocess.Popen[str],
    folder: Path,
    calm: Path,
    length: float,
    draw: random.Random,
) -> bool | None:
    """Fill the disk, and then perhaps stop the run or make room.

    Whether it was still there when it was sent SIGTERM; None where it was not to be sent one.
    """
    stops, room = draw.random() < 1 / 2, draw.random() < 1 / 5
    whole = (calm / "metrics.jsonl").stat().st_size
    began = time.perf_counter()
    if draw.random() < 1 / 5:
        due = draw.uniform(0, length)
        wait(process, lambda: time.perf_counter() - began >= due)
        pace = length
    else:
        # A run that is to be stopped has some way to go after the disk is full.
        due = draw.uniform(0, 1 - TWO_CHECKPOINTS if stops else 1)
        wait(process, lambda: made(folder) > 0)
        began = time.perf_counter()
        wait(process, lambda: made(folder) >= due * whole)
        pace = (time.perf_counter() - began) / max(due, 0.01)
    disk.fill()
    full, sent = time.perf_counter(), None
    # Seconds of the whole run at the pace that it had, of which a share is left to it.
    acts = [("stop", draw.uniform(0, TWO_CHECKPOINTS))] if stops else []
    acts += [("make room", draw.uniform(0, TWO_CHECKPOINTS))] if room else []
    for act, share in sorted(acts, key=lambda each: each[1]):
        moment = full + share * pace
        wait(process, lambda moment=moment: time.perf_counter() >= moment)
        if act == "make room":
            disk.make_room()
        else:
            sent = process.poll() is None
            process.send_signal(signal.SIGTERM)
    return sent


def wait(process: subprocess.Popen[str], until: Callable[[], bool]) -> None:
    """Wait for something, or for the end of the process."""
    while process.poll() is None and not until():
        time.sleep(0.002)


def made(folder: Path) -> int:
    """Bytes of metrics so far."""
    path = folder / "metrics.jsonl"
    return path.stat().st_size if path.exists() else 0


def judged(folder: Path, python: bool, code: int, told: str, said: str, calm: Path) -> list[str]:
    """What is not as promised when the run has ended."""
    from klamp.runs.checkpoint import checkpoints, latest_checkpoint, verify

    there = checkpoints(folder / "checkpoints")
    latest = verify(latest_checkpoint(folder)).step if there else None
    line = said.strip().splitlines()[-1] if said.strip() else ""
    named = re.findall(r"(?:saved at step|the last good one is of step) ([0-9,]+)", line)
    claimed = int(named[-1].replace(",", "")) if named else None
    wrong = [f"a traceback: {said[-300:]}"] if "Traceback" in said else []
    # A signal asks to leave: it is answered by `Stopped`, which has no result.
    due = python and code in (0, 74) and latest is not None and not line.startswith("SIGTERM")
    wrong += ["no result"] if due and not told else []
    if told and code != -15 and not agrees(*json.loads(told), calm):
        wrong.append("the result is not that of the undisturbed run")
    match code:
        case 0:
            claimed = json.loads((calm / "summary.json").read_text())["step"]
        case 2:
            wrong += [] if "cannot be written" in line else [line]
        case 74:
            wrong += [] if "No space left on device" in line else [line]
        case 143:
            # Before the loop there is nothing to save, and that is what is said.
            claimed = latest if "nothing" in line else claimed
        case -15:
            # Python leaves by the signal itself before its first lines have run, and where it is
            # on its way out: then the last line has been said.
            claimed = claimed if named else latest
        case _:
            wrong.append(f"exit code {code}: {line[-200:]}")
    if claimed != latest:
        wrong.append(f"step {claimed} is claimed, {latest} is there: {line[-200:]}")
    return wrong


def agrees(theta: str, lines: list[dict[str, object]], calm: Path) -> bool:
    """Whether a result is that of the undisturbed run, as far as it came."""
    from klamp.runs.checkpoint import latest_checkpoint, load_checkpoint
    from klamp.runs.metrics_log import read_metrics

    def timeless(lines: list[dict[str, object]]) -> list[dict[str, object]]:
        return [{k: v for k, v in line.items() if k not in TIMES} for line in lines]

    whole = timeless(read_metrics(calm / "metrics.jsonl"))
    if len(lines) < len(whole):
        return timeless(lines) == whole[: len(lines)]
    tensors, _ = load_checkpoint(latest_checkpoint(calm))
    return timeless(lines) == whole and theta == tensors["['state'].theta"].tobytes().hex()


def page(trials: list[Trial]) -> str:
    """The results as a page."""
    ends = collections.Counter(
        ("Python" if t.python else "command line", "yes" if t.sent else "no", t.code)
        for t in trials
    )
    due = [t.sent for t in trials if t.sent is not None]
    lines = [
        "# Full disk",
        "",
        f"Made by `python benchmarks/reliability/full_disk.py`: {len(trials)} runs on a file",
        f"system of {SIZE // 2**20} MiB (a tmpfs in a namespace of its own) that was filled to the",
        f"last byte at a random moment; {sum(due)} were sent SIGTERM after it ({len(due)} were to",
        "be, the others had ended by then), and a fifth got room again.",
        "*Wrong*: a traceback; a last line or exit code that is not true of the checkpoint that is",
        "there; no result in Python, or not the undisturbed run's; other bytes after a resume.",
        "",
        "| run by | SIGTERM | exit code | runs |",
        "|---|---|---|---|",
        *(f"| {' | '.join(map(str, end))} | {count} |" for end, count in sorted(ends.items())),
        "",
        f"{sum(bool(t.wrong) for t in trials)} of {len(trials)} wrong.",
        *(f"- {what}" for t in trials for what in t.wrong),
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
