"""A time limit for the calls of an environment, so that one that hangs is given up.

A second thread counts the seconds. When they are over it sends a signal to the main thread, which
ends Python code, sleep and most waits of the system by an exception. Code of another language that
never returns to Python gets no signal: it ends with the process only, and nothing has been trained
yet.
"""

import os
import signal
import threading
from collections.abc import Generator
from contextlib import contextmanager, suppress
from types import FrameType

from klamp.errors import EnvironmentFault

GRACE_S = 10.0
"""Seconds within which the main thread should react to the signal."""

AGAIN_S = 1.0
"""Seconds between two signals, for code that swallows the first exception."""


class _TimeIsUp(BaseException):
    """Raised where the main thread is; no ``except Exception`` of an environment catches it."""


@contextmanager
def limited(env: str, call: str, seconds: float) -> Generator[None]:
    """Raise ``EnvironmentFault`` where what is inside takes longer than ``seconds``.

    ``env`` and ``call`` name it in the message. In other threads than the main one, and where the
    system has no signals between threads, there is no limit.
    """
    in_main = threading.current_thread() is threading.main_thread()
    if not in_main or not hasattr(signal, "pthread_kill"):
        yield
        return
    fault = EnvironmentFault(
        f"{call} of `{env}` gave no answer in {seconds:g} s, and was given up. Run it by itself to "
        "see what it waits for; where it may take longer, give it more by `step_limit_s=…`."
    )
    done = threading.Event()
    previous = signal.getsignal(signal.SIGALRM)

    def time_is_up(number: int, frame: FrameType | None) -> None:
        if not done.is_set() and watch.over:
            raise _TimeIsUp
        if callable(previous):
            # An alarm of somebody else's.
            previous(number, frame)

    watch = _Watch(seconds, done, str(fault))
    signal.signal(signal.SIGALRM, time_is_up)
    watch.start()
    try:
        yield
    except _TimeIsUp:
        raise fault from None
    finally:
        done.set()
        watch.join()
        signal.signal(signal.SIGALRM, previous)


class _Watch(threading.Thread):
    """Counts the seconds, and signals to the main thread when they are over."""

    def __init__(self, seconds: float, done: threading.Event, text: str) -> None:
        super().__init__(daemon=True)
        self._seconds, self._done, self._text = seconds, done, text
        self.over = False

    def run(self) -> None:
        """Wait, signal, and end the process where the main thread does not react."""
        main = threading.main_thread().ident
        if self._done.wait(self._seconds) or main is None:
            return
        self.over = True
        waited = 0.0
        while waited < GRACE_S:
            signal.pthread_kill(main, signal.SIGALRM)
            if self._done.wait(AGAIN_S):
                return
            waited += AGAIN_S
        with suppress(OSError):
            os.write(2, f"klamp: {self._text}\n".encode())
        os._exit(2)
