"""What every worker shares: one thread on one core, the clock, the form of a measurement.

A worker is run as ``python -m systems.NAME WORK``, with `benchmarks` on the path, by the
interpreter that has its library, and prints its measurement as the last line of its output. It
imports its library inside ``measure``, after the process was pinned.
"""

import importlib.metadata
import json
import os
import platform
import resource
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Work = dict[str, Any]
Measurement = dict[str, Any]


@dataclass
class Iteration:
    """One iteration, rollout and update, in seconds."""

    steps: int
    """Environment steps; rows that an autoreset wasted are not counted."""
    wall: float
    cpu: float
    """Processor time of all threads of the process."""
    rollout: float
    """0 where the system cannot be split; the measurement then says why, under ``not_split``."""
    update: float


def now() -> tuple[float, float]:
    """Wall and processor time."""
    return time.perf_counter(), time.process_time()


def main(measure: Callable[[Work], Measurement]) -> None:
    """Read the work, pin the process, measure, print."""
    work: Work = json.loads(sys.argv[1])
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, work["cores"])
    result = measure(work)
    result["python"] = platform.python_version()
    # ru_maxrss is in KiB, on macOS in bytes.
    unit = 2**20 if sys.platform == "darwin" else 2**10
    processes = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    result["peak_memory_mib"] = max(resource.getrusage(who).ru_maxrss for who in processes) / unit
    print(json.dumps(result))


def measurement(start_s: float, first: Iteration, timed: list[Iteration]) -> Measurement:
    """Add up the timed iterations, and say what came before them.

    ``start_s`` is the time to import the library and build the run; ``first`` is the first
    iteration, which compiles.
    """
    wall = sum(item.wall for item in timed)
    return {
        "iterations": len(timed),
        "steps": sum(item.steps for item in timed),
        "wall_s": wall,
        "cpu_s": sum(item.cpu for item in timed),
        "rollout_s": sum(item.rollout for item in timed),
        "update_s": sum(item.update for item in timed),
        "start_s": start_s,
        "first_iteration_s": first.wall,
        "compile_s": max(first.wall - wall / len(timed), 0.0),
    }


def reached(work: Work, steps: int, spawned_children: bool = False) -> Measurement:
    """A measurement of a time from the start of the process to now."""
    cpu = time.process_time()
    if spawned_children:
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu += used.ru_utime + used.ru_stime
    # The clock is the machine's: the parent read it just before it started this process.
    return {"steps": steps, "wall_s": time.monotonic() - work["spawned"], "cpu_s": cpu}


def update_iterations(work: Work, update: Callable[[], Any]) -> list[Iteration]:
    """Repeat one update, the first included, until the time is over."""
    steps = work["num_envs"] * work["rollout_length"]
    done: list[Iteration] = []
    while len(done) <= work["warmup"] or sum(item.wall for item in done[1:]) < work["seconds"]:
        wall, cpu = now()
        update()
        wall_end, cpu_end = now()
        done.append(Iteration(steps, wall_end - wall, cpu_end - cpu, 0.0, wall_end - wall))
    return done


class Marks:
    """When each rollout began and ended, as a library's own loop comes by."""

    def __init__(self) -> None:
        self.begins: list[tuple[float, float]] = []
        self.middles: list[float] = []
        self.steps: list[int] = []

    def begin(self) -> None:
        """A rollout begins, and what was before it is over."""
        self.begins.append(now())

    def middle(self, steps: int) -> None:
        """The rollout ended, after so many environment steps; the update begins."""
        self.middles.append(now()[0])
        self.steps.append(steps)

    def iterations(self) -> list[Iteration]:
        """All iterations; the last is over now."""
        ends = [*self.begins[1:], now()]
        return [
            Iteration(
                steps, end[0] - begin[0], end[1] - begin[1], middle - begin[0], end[0] - middle
            )
            for begin, middle, steps, end in zip(
                self.begins, self.middles, self.steps, ends, strict=True
            )
        ]


def versions(*names: str) -> dict[str, str]:
    """Look up the installed versions of distributions."""
    return {name: importlib.metadata.version(name) for name in names}
