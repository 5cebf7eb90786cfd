"""How processes of klamp's own are started, and on how many cores they may run."""

import multiprocessing
import os
import time
from collections.abc import Sequence
from typing import Any

METHOD = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
"""Not fork: JAX has threads, whose locks a forked child would wait for forever."""


PAUSES_S = (0.01, 0.1, 0.5, 1.0)
"""Seconds to wait before a process is started again."""


def process_context(modules: Sequence[str]) -> Any:
    """The context that processes are started in; ``modules`` are what all of them import.

    Where there is a server that they are forked from, it imports these once for all of them.
    """
    context: Any = multiprocessing.get_context(METHOD)
    if METHOD == "forkserver":
        context.set_forkserver_preload(list(modules))
    return context


def start(process: Any) -> None:
    """Start a process, even where the server that it is forked from is killed at this moment.

    A dead server is started again. One that dies during the request closes the pipe, and refuses
    connections until the system has removed it.
    """
    for pause_s in PAUSES_S:
        try:
            process.start()
        except (EOFError, ConnectionError):
            time.sleep(pause_s)
        else:
            return
    process.start()


def cores() -> int:
    """The processor cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1  # no such call on macOS
