"""Many training runs, one process each: those that are missing are made, in any order of kills.

A file of results has one line per finished run. A line is appended by one write, so that a kill at
any moment loses the runs that were under way and nothing else; the same command then goes on with
what is missing. Nothing here measures time, so that a machine may stop and continue the processes.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import harness

from klamp.config.presets import configure

CACHE = harness.ROOT / ".cache" / "learning"
"""Where all runs keep compiled programs."""
EPISODES = 20
"""Episodes of the trained policy, by the mode."""
GROUPS = {"klamp": "klamp", "sb3": "torch"}
"""The group of `requirements/` that each system needs."""
APART = (
    "seed",
    "checkpoint_interval",
    "keep_checkpoint_every",
    "step_limit_s",
    "klamp_version",
    "signature",
)
"""Keys of klamp's `config.json` that do not decide, beside the seed, what is learnt."""


@dataclass(frozen=True)
class Job:
    """One run."""

    system: str
    """klamp, or sb3: Stable-Baselines3 or sb3-contrib."""
    env: str
    algo: str
    steps: int
    seed: int
    settings: dict[str, Any] = field(default_factory=dict)
    """Of klamp, over the preset's; of a peer, over its defaults."""

    @property
    def config(self) -> dict[str, Any]:
        """Everything that decides what is learnt, but the seed."""
        if self.system != "klamp":
            return {"env": self.env, "algo": self.algo, "steps": self.steps} | self.settings
        chosen = configure(self.env, self.algo, self.settings | {"steps": self.steps})
        return decisive(json.loads(json.dumps(chosen.to_dict())))

    def __str__(self) -> str:
        given = (f"{name}={value}" for name, value in self.settings.items())
        counts = (f"{self.steps:,} steps", f"seed {self.seed}")
        return " ".join((self.system, self.env, self.algo, *given, *counts))


def decisive(config: dict[str, Any]) -> dict[str, Any]:
    """A configuration without what does not decide what is learnt."""
    return {name: held for name, held in config.items() if name not in APART}


class Results:
    """The lines of a file of results."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._read, self.lines = 0, list[dict[str, Any]]()

    def refresh(self) -> list[dict[str, Any]]:
        """All lines, those that others have appended meanwhile included."""
        if self.path.exists():
            with self.path.open("rb") as file:
                file.seek(self._read)
                new = file.read()
            whole = new[: new.rfind(b"\n") + 1]
            self._read += len(whole)
            for line in whole.splitlines():
                # The rest of a line that a kill cut short is followed by a line end.
                if line.startswith(b"{") and line.endswith(b"}"):
                    self.lines.append(json.loads(line))
        return self.lines

    def append(self, line: dict[str, Any]) -> None:
        """One more line, by one write."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        data = json.dumps(line, separators=(",", ":")).encode() + b"\n"
        if self.path.exists() and self.path.stat().st_size:
            with self.path.open("rb") as file:
                file.seek(-1, os.SEEK_END)
                data = data if file.read() == b"\n" else b"\n" + data
        handle = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            os.write(handle, data)
        finally:
            os.close(handle)

    def of(self, job: Job) -> dict[str, Any] | None:
        """The line of a job, if it was made."""
        config = job.config
        for line in self.lines:
            if line["seed"] == job.seed and line["system"] == job.system and same(line, config):
                return line
        return None


def same(line: dict[str, Any], config: dict[str, Any]) -> bool:
    """Whether a line was made by a configuration, where both name a setting.

    A setting that came after the run was made stood at what is now its default.
    """
    made = line["config"]
    if line["system"] == "klamp":
        made = config | made
    return made == config


def run(
    wanted: Callable[[], Iterable[Job]],
    results: Results,
    pythons: dict[str, str],
    *,
    processes: int = 1,
) -> None:
    """Make every wanted job that has no line yet, so many at a time.

    ``wanted`` is asked again whenever a process is free, so that its answer may change. A job that
    failed is told and left out until the next call.
    """
    left_out, cores = set[str](), harness.cores()
    with killed_with_us() as running:
        while True:
            for place, (job, process, folder) in list(running.items()):
                if process.poll() is not None:
                    del running[place]
                    _finished(job, process, folder, results)
            results.refresh()
            free = [place for place in range(processes) if place not in running]
            for place, job in zip(free, _missing(wanted(), results, left_out), strict=False):
                left_out.add(str(job))
                print(f"{time.strftime('%H:%M:%S')} {job}", flush=True)
                running[place] = start(job, pythons[job.system], cores[place % len(cores)])
            if not running:
                return
            time.sleep(0.5)


def _missing(wanted: Iterable[Job], results: Results, left_out: set[str]) -> Iterator[Job]:
    """The jobs without a line; those found to have one are left out from then on."""
    for job in wanted:
        if str(job) in left_out:
            continue
        if results.of(job) is None:
            yield job
        else:
            left_out.add(str(job))


Running = tuple[Job, subprocess.Popen[bytes], tempfile.TemporaryDirectory[str]]


def start(job: Job, python: str, core: int) -> Running:
    """The process of a job, on one core; what it prints goes into a folder of its own."""
    folder = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
    work = asdict(job) | {"cores": [core], "episodes": EPISODES}
    command = [python, "-m", f"systems.{job.system}_learning", json.dumps(work)]
    with (
        (Path(folder.name) / "out").open("wb") as out,
        (Path(folder.name) / "err").open("wb") as err,
    ):
        variables = harness.environment(1, CACHE)
        process = subprocess.Popen(
            command,
            cwd=folder.name,
            env=variables,
            stdout=out,
            stderr=err,
            stdin=subprocess.DEVNULL,
        )
    return job, process, folder


def _finished(
    job: Job,
    process: subprocess.Popen[bytes],
    folder: tempfile.TemporaryDirectory[str],
    results: Results,
) -> None:
    """Keep what a process measured, or tell why it has not."""
    out, err = (
        (Path(folder.name) / name).read_text(encoding="utf-8", errors="replace").strip()
        for name in ("out", "err")
    )
    folder.cleanup()
    if process.returncode:
        print(f"FAILED {job}: {(err.splitlines() or ['no message'])[-1]}", flush=True)
        return
    found = json.loads(out.splitlines()[-1])
    about = asdict(job) | {"config": decisive(found.pop("config", job.config))}
    results.append(about | harness.provenance() | found)
    print(f"{time.strftime('%H:%M:%S')} {job}: {in_short(found)}", flush=True)


def in_short(found: dict[str, Any]) -> str:
    """One line about a run."""
    evaluated = sum(found["evaluation"]) / len(found["evaluation"])
    return (
        f"{found['return']} (best {found['best']}, evaluated {evaluated:.5g}, {found['cpu_s']} s)"
    )


@contextmanager
def killed_with_us() -> Iterator[dict[int, Running]]:
    """The processes that run; they end when this block is left, by a signal as well."""
    running: dict[int, Running] = {}
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        yield running
    finally:
        signal.signal(signal.SIGTERM, before)
        for _, process, folder in running.values():
            process.kill()
            process.wait()
            folder.cleanup()
