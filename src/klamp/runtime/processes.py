"""How processes of klamp's own are started, and on how many cores they may run."""

import multiprocessing
import os
import time
import warnings
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from klamp.errors import KlampWarning

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


@contextmanager
def warnings_told(tell: Callable[[str], object]) -> Generator[None]:
    """Tell of each ``KlampWarning`` in place of showing it: by another process, which warns of it.

    There it obeys the filters of whoever started the runs, and is put in their words.
    """
    with warnings.catch_warnings():
        shown = warnings.showwarning

        def told(message: Warning | str, category: type[Warning], *where: Any) -> None:
            if issubclass(category, KlampWarning):
                tell(str(message))
            else:
                shown(message, category, *where)

        warnings.simplefilter("default", KlampWarning)
        warnings.showwarning = told
        yield


def own_cores(processes: Sequence[int]) -> None:
    """Give each of these processes an equal share of the cores that this one may use.

    Where there are fewer cores than processes, or the system does not divide them, all share all.
    """
    if not hasattr(os, "sched_setaffinity") or cores() < len(processes):
        return
    ours = sorted(os.sched_getaffinity(0))
    for index, process in enumerate(processes):
        first, end = (len(ours) * place // len(processes) for place in (index, index + 1))
        with suppress(OSError):  # it has ended
            os.sched_setaffinity(process, ours[first:end])


def cores() -> int:
    """The processor cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1  # no such call on macOS
