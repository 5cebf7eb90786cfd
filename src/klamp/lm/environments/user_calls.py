"""Calling what users wrote: in threads, each call with a time limit."""

import queue
import threading
import time
from collections.abc import Callable, Sequence
from typing import TypeVar

from klamp.errors import one_line

THREADS = 16
"""How many calls are made at a time."""

Result = TypeVar("Result")


class CallFault(Exception):
    """The call number ``index`` raised an exception, or did not return in time."""

    def __init__(self, index: int, what: str) -> None:
        super().__init__(what)
        self.index, self.what = index, what


def call_all(calls: Sequence[Callable[[], Result]], seconds: float) -> list[Result]:
    """The results of all calls; each may take so many seconds from its own start.

    Raises ``CallFault`` for the first call that raised or took longer; its text is what the call
    did, such as ``raised KeyError: 'a'``. A thread cannot be ended: one that hangs is left behind
    and does not keep the process alive.
    """
    waiting: queue.SimpleQueue[int] = queue.SimpleQueue()
    for index in range(len(calls)):
        waiting.put(index)
    started: dict[int, float] = {}
    results: dict[int, Result] = {}
    raised: dict[int, Exception] = {}
    ended = [threading.Event() for _ in calls]

    def work() -> None:
        while True:
            try:
                index = waiting.get_nowait()
            except queue.Empty:
                return
            started[index] = time.monotonic()
            try:
                results[index] = calls[index]()
            except Exception as error:
                raised[index] = error
            ended[index].set()

    for _ in range(min(THREADS, len(calls))):
        threading.Thread(target=work, daemon=True).start()
    for index, end in enumerate(ended):
        while not end.wait(started.get(index, time.monotonic()) + seconds - time.monotonic()):
            if index in started and time.monotonic() >= started[index] + seconds:
                raise CallFault(index, f"did not return within {seconds:g} s")
        if (error := raised.get(index)) is not None:
            raise CallFault(index, f"raised {type(error).__name__}: {one_line(error)}") from error
    return [results[index] for index in range(len(calls))]
