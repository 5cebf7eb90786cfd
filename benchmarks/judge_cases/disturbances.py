"""Runs whose surroundings fail: standard error, the disk, one of many processes."""

import json
import os
import re
import resource
import signal
import subprocess
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import resumption
import runs
from case import (
    Case,
    Ended,
    Promise,
    finished,
    klamp,
    klamp_process,
    must,
    must_be_plain,
    must_succeed,
    surroundings,
    tail,
)
from policies import same_run


def judge_stderr(case: Case) -> str:
    """Whoever reads standard error goes away, or its disk is full: the run is the same."""
    plan = resumption.draw(case)
    with plan.named():
        expected = resumption.calm(case, plan)
        how = case.choose(("closed", "full", "gone", "gone"))
        code = read_badly(case, plan, how)
        case.spoil(case.folder / "run")
        must(code == 0, f"standard error {how}: exit code {code}")
        same_run(expected, case.folder / "run", f"standard error {how}")
    return f"{how}; {plan.text()}"


def read_badly(case: Case, plan: runs.Plan, how: str) -> int | None:
    """Train with a standard error that cannot be written to."""
    env = surroundings(case, JUDGE_ENV=json.dumps(plan.environment | {"slow_s": 0.002}))
    words = plan.words("run")
    if how == "full":
        with Path("/dev/full").open("w") as full:
            return finished(klamp_process(case, words, env, stderr=full), 100).code
    process = klamp_process(case, words, env)
    if how == "gone":
        deadline = time.monotonic() + float(case.rng.uniform(0, 5))
        os.set_blocking(process.stderr.fileno(), False)
        while process.poll() is None and time.monotonic() < deadline:
            os.read(process.stderr.fileno(), 10) if _ready(process.stderr) else time.sleep(0.01)
    process.stderr.close()
    process.stderr = None
    return finished(process, 100).code


def _ready(stream: Any) -> bool:
    import select

    return bool(select.select([stream], [], [], 0)[0])


def judge_disk(case: Case) -> str:
    """No file may grow beyond a size, as on a full disk; what is said to be saved is there."""
    plan = resumption.draw(case)
    with plan.named():
        expected, run = resumption.calm(case, plan), case.folder / "run"
        size = int(2 ** case.rng.uniform(9, 14))
        stop = case.chance(0.5)
        ended = cramped(case, plan, size, stop)
        what = f"files of at most {size} bytes{', SIGTERM' if stop else ''}"
        must_be_plain(ended, what)
        must("Errno" not in ended.err, f"{what}: {tail(ended.err)}")
        for step in re.findall(r"saved at step ([\d,]+)", ended.err)[-1:]:
            name = f"step_{int(step.replace(',', '')):012d}"
            there = (run / "checkpoints" / name).is_dir() or name == f"step_{0:012d}"
            must(there, f"{what}: says {tail(ended.err, 90)!r}, but there is no {name}")
        case.spoil(run)
        if ended.code == 0 or resumption.has_begun(run):
            must_succeed(resumption.go_on(case, plan, run, 100), f"{what}: resume")
            same_run(expected, run, f"{what}, resumed")
    return f"{what}: exit code {ended.code}; {plan.text()}"


def cramped(case: Case, plan: runs.Plan, size: int, stop: bool) -> Ended:
    """Train under a limit on the size of files."""
    env = surroundings(case, JUDGE_ENV=json.dumps(plan.environment | {"slow_s": 0.002}))
    env["KLAMP_CACHE"] = "off"
    process = klamp_process(
        case,
        plan.words("run"),
        env,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size)),
    )
    if stop:
        time.sleep(float(case.rng.uniform(2, 6)))
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
    return finished(process, 120)


def judge_seeds(case: Case) -> str:
    """Many seeds side by side, one process killed or none; each is the run of its seed alone."""
    plan = resumption.draw(case)
    first, count = int(case.rng.integers(1000)), int(case.rng.integers(2, 4))
    kill = case.chance(0.5)
    options = {k: v for k, v in plan.options.items() if k != "seed"}
    plan = replace(plan, options=options | {"seed": first})
    with plan.named():
        many = [*plan.words("many"), "--seeds", str(count)]
        slow = json.dumps(plan.environment | {"slow_s": 0.003 if kill else 0.0})
        process = klamp_process(case, many, surroundings(case, JUDGE_ENV=slow))
        if kill:
            time.sleep(float(case.rng.uniform(2, 6)))
            kill_one_worker(process.pid)
        ended = finished(process, 100)
        what = f"--seeds {count}{', a worker killed' if kill else ''}"
        must_be_plain(ended, what)
        if ended.code and kill:
            ended = klamp(case, *many, limit_s=100, **plan.surroundings())
            what += ", the same command again"
        must_succeed(ended, what)
        case.spoil(next(iter(folders_of(case.folder / "many").values())))
        found = folders_of(case.folder / "many")
        must(sorted(found) == list(range(first, first + count)), f"{what}: seeds {sorted(found)}")
        seed = first + int(case.rng.integers(count)) if case.plant is None else min(found)
        alone = resumption.calm(case, replace(plan, options=options | {"seed": seed}), "alone")
        same_run(alone, found[seed], f"{what}: seed {seed} beside the run alone")
    return f"{what}; {plan.text()}"


def folders_of(root: Path) -> dict[int, Path]:
    """The runs below a folder, by seed."""
    found = root.rglob("config.json")
    return {json.loads(path.read_text())["seed"]: path.parent for path in found}


def kill_one_worker(pid: int) -> None:
    """SIGKILL to one process that klamp started and that trains."""
    listed = subprocess.run(
        ["ps", "-o", "pid=,args=", "--ppid", str(pid)], capture_output=True, text=True, check=False
    )
    lines = [
        line for line in listed.stdout.splitlines() if "tracker" not in line and "ps -o" not in line
    ]
    if lines:
        os.kill(int(lines[-1].split()[0]), signal.SIGKILL)


def _bit(run: Path) -> None:
    """One bit of the last checkpoint, signed again."""
    import recorded

    if not resumption.has_begun(run):
        return
    folder = max((run / "checkpoints").iterdir())
    path = folder / "tensors.safetensors"
    if path.exists():
        data = bytearray(path.read_bytes())
        data[-6] ^= 4
        path.write_bytes(data)
        recorded.sign(folder)


STDERR = Promise(
    name="stderr",
    says="whoever reads standard error cannot change a run",
    judge=judge_stderr,
    plants={"another bit in the end": _bit},
    quick=True,
)
DISK = Promise(
    name="disk",
    says="on a full disk nothing is said to be saved that is not, nothing raises, and what is "
    "resumed is the run",
    judge=judge_disk,
    plants={"another bit in what was saved": _bit},
    quick=True,
)
SEEDS = Promise(
    name="seeds",
    says="each of many seeds is the run of its seed alone; the same command goes on after a "
    "process died",
    judge=judge_seeds,
    plants={"another bit in one seed": _bit},
    quick=True,
)
