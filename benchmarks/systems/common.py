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
    update: float


def now() -> tuple[float, float]:
    """Wall and processor time."""
    return time.perf_counter(), time.process_time()


def main(measure: Callable[[Work], Measurement]) -> None:
    """Read the work, pin the process, measure, print."""
    work: Work = json.loads(sys.argv[1])
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {work["core"]})
    result = measure(work)
    result["python"] = platform.python_version()
    # ru_maxrss is in KiB, on macOS in bytes.
    unit = 2**20 if sys.platform == "darwin" else 2**10
    result["peak_memory_mib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit
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


def versions(*names: str) -> dict[str, str]:
    """Look up the installed versions of distributions."""
    return {name: importlib.metadata.version(name) for name in names}
