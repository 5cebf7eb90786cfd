"""Launches that are interrupted, and runs that other numbers of processes go on with."""

import os
import random
import re
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

from launches import LIMIT_S, add, launched, lines_of, rows, run

TRAIN = [
    *("CartPole-v1", "--algo", "trpo", "--num-envs", "4", "--rollout-length", "32"),
    *("--critic-epochs", "1", "--critic-minibatch-size", "128", "--hidden-sizes", "8"),
    *("--shards", "4", "--checkpoint-interval", "512", "--quiet"),
]
STEPS = 5120
WHOLE = ["train", *TRAIN, "--steps", str(STEPS)]
SORT = [
    *("lm", "train", "sort", "--max-kl", "0.01", "--prompts", "32", "--shards", "2"),
    *("--minibatch-size", "8", "--critic-minibatch-size", "8", "--critic-warmup", "1"),
    *("--supervised-steps", "20", "--checkpoint-interval", "192", "--steps", "11520", "--quiet"),
]
COMMANDS = {"kill": WHOLE, "term": WHOLE, "kill_language": SORT}
"""What is started, by what then happens to it."""


def children(process: subprocess.Popen[str]) -> list[int]:
    """The processes that the launcher has started."""
    listed = Path(f"/proc/{process.pid}/task").glob("*/children")
    return [int(pid) for path in listed for pid in path.read_text().split()]


def final(folder: Path) -> bytes:
    """What the last checkpoint holds."""
    (*_, last) = sorted((folder / "checkpoints").glob("step_*/*.safetensors"))
    return last.read_bytes()


def interrupted(kind: str, number: int, top: Path, whole: bytes, seconds: float) -> None:
    """A launch of which one process is killed, or asked to stop, and what becomes of it."""
    rng = random.Random(f"{kind} {number}")
    folder = top / f"{kind}-{number}"
    process = launched(*COMMANDS[kind], "--out", str(folder))
    while not (folder / "checkpoints").exists() and process.poll() is None:
        time.sleep(0.05)
    time.sleep(rng.random() * seconds)
    victims = children(process)
    row: dict[str, Any] = {"kind": kind, "number": number, "ended_before": len(victims) < 2}
    if len(victims) == 2:
        row["victim"] = rng.randrange(2)
        began = time.perf_counter()
        os.kill(victims[row["victim"]], signal.SIGTERM if kind == "term" else signal.SIGKILL)
    _, said = process.communicate()
    if len(victims) == 2:
        row["seconds"] = time.perf_counter() - began
        row["code"] = process.returncode
        other = 1 - row["victim"]
        row["named"] = bool(
            re.search(rf"\[{other}\] klamp: Process {row['victim']} \(\d+ on ", said)
        )
        row["stopped"] = len(re.findall(r"\[\d\] klamp: .*SIGTERM", said))
    resumes = 0
    while not (folder / "summary.json").exists() and resumes < 3:
        again = launched("resume", str(folder), "--quiet")
        _, said = again.communicate()
        row["resumed"], resumes = again.returncode, resumes + 1
    add(row | {"equal": final(folder) == whole})


def faults(kind: str, count: int, top: Path) -> None:
    """So many launches that are interrupted at a random moment."""
    done = {row["number"] for row in rows(kind)}
    if set(range(count)) <= done:
        return
    whole = top / f"whole-{kind}"
    began = time.perf_counter()
    process = launched(*COMMANDS[kind], "--out", str(whole))
    while not (whole / "checkpoints").exists():
        time.sleep(0.05)
    started = time.perf_counter() - began
    assert process.wait() == 0
    seconds = time.perf_counter() - began - started
    for number in range(count):
        if number not in done:
            interrupted(kind, number, top, final(whole), seconds)


def other_numbers(top: Path) -> None:
    """A run by 2 processes, then by 1, then by 4, beside one by a single process."""
    import numpy as np
    import safetensors.numpy

    if rows("numbers"):
        return
    whole, parts = top / "numbers-whole", top / "numbers-2-1-4"
    told = ("--log", "episodes")
    run(1, *WHOLE, *told, "--out", str(whole))
    run(2, "train", *TRAIN, *told, "--steps", "1536", "--out", str(parts))
    run(1, "resume", str(parts), *told, "--steps", "3072", "--quiet")
    run(4, "resume", str(parts), *told, "--steps", str(STEPS), "--quiet")
    one, other = (safetensors.numpy.load(final(folder)) for folder in (whole, parts))
    theta = next(name for name in one if "theta" in name)
    counted = ("step", "update", "episodes", "return_mean", "length_mean", "outcome")
    pairs = list(zip(lines_of(whole), lines_of(parts), strict=True))
    episodes = [(folder / "episodes.csv").read_text() for folder in (whole, parts)]
    add(
        {
            "kind": "numbers",
            "theta": float(np.abs(one[theta] - other[theta]).max() / np.abs(one[theta]).max()),
            "lines": all(a[name] == b[name] for a, b in pairs for name in counted),
            "episodes": len(episodes[0].splitlines()) - 1,
            "equal": episodes[0] == episodes[1],
        }
    )


def _told(kind: str, each: list[dict[str, Any]]) -> str:
    """What the processes said of it."""
    if kind != "term":
        return f"named by the other: {sum(row['named'] for row in each)}"
    return f"both said that they stopped: {sum(row['stopped'] == 2 for row in each)}"


def said() -> list[str]:
    """What is to be told of them."""
    told: list[str] = []
    for kind, what in (
        ("kill", "SIGKILL"),
        ("term", "SIGTERM"),
        ("kill_language", "Language models: SIGKILL"),
    ):
        each = [row for row in rows(kind) if "seconds" in row]
        if each:
            codes = sorted({row["code"] for row in each})
            longest = max(row["seconds"] for row in each)
            told += [
                "",
                f"{what} at a random process of two, at a random moment: {len(each)} times.",
                f"Seconds until all had ended: at most {longest:.1f} (limit {LIMIT_S:g} + 10);",
                f"exit codes of the launcher {codes}; {_told(kind, each)};",
                "runs whose last checkpoint, after `resume`,",
                "is that of the run never interrupted, byte for byte:",
                f"{sum(row['equal'] for row in each)}.",
            ]
    for row in rows("numbers"):
        told += [
            "",
            "A run by 2 processes, resumed by 1 and then by 4, beside the same run by one process:",
            f"θ differs by {row['theta']:.1e} of the largest |θ| at the end; steps, updates,",
            f"episodes and outcomes of every line equal: {'yes' if row['lines'] else 'NO'}; its",
            f"{row['episodes']} episodes equal, none lost or twice: "
            f"{'yes' if row['equal'] else 'NO'}.",
        ]
    return told
