"""SIGTERM, SIGINT and SIGUSR1 ask a run to stop; a second one ends it at once, with a message.

Windows has no SIGUSR1, and its SIGTERM ends a process at once: there Ctrl-C stops a run.

The loop checks for it at every step of the environments, and before and after every update. An
update is one compiled program, and an environment may hang: where the loop has not reacted within
``GRACE_S``, a waiting thread saves the run and ends the process.
"""

import os
import signal
import socket
import sys
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

from klamp.errors import Stopped, printable, resume_call

ASKED_BY = tuple(
    getattr(signal, name) for name in ("SIGTERM", "SIGINT", "SIGUSR1") if hasattr(signal, name)
)
GRACE_S = 6.0
"""Seconds for the loop to react; then the thread saves and ends the process."""
SAY_S = 2.0
"""Seconds that writing the last line may take."""


class StopAsked(Exception):
    """Raised by ``Signals.check`` where the loop can be interrupted."""


class Signals:
    """Handlers of the three signals, for the time of a ``with`` block.

    Outside the main thread, where Python sets no handlers, nothing is changed. A signal that the
    process was told to ignore stays ignored. A user's own handler is called, too, and all handlers
    are restored at the end. ``last_resort`` is called with the signal by the waiting thread; the
    process then ends with 128 + the signal's number. Entered again, nothing happens: a command
    enters it before it imports or compiles anything, and the loop inside. ``words`` turns that
    thread's message into the terms of the command line.
    """

    def __init__(
        self,
        last_resort: Callable[[int], Stopped] | None = None,
        words: Callable[[str], str] = str,
    ) -> None:
        self.number, self.words = 0, words
        self.last_resort = last_resort or leave_saying("nothing was trained")
        self.grace_s = GRACE_S
        """Seconds for the loop to end after a signal; then the thread ends the process."""
        self._entered = 0
        self._before: dict[int, Any] = {}
        self._left = threading.Event()
        self._pipe: socket.socket | None = None
        self._thread = threading.Thread()
        self._wakeup = -1

    def __enter__(self) -> "Signals":
        self._entered += 1
        if self._entered > 1 or threading.current_thread() is not threading.main_thread():
            return self
        for number in ASKED_BY:
            if signal.getsignal(number) is not signal.SIG_IGN:
                self._before[number] = signal.signal(number, self._asked)
        # Sockets, and no pipe: Windows has no pipe that does not block.
        theirs, self._pipe = socket.socketpair()
        self._pipe.setblocking(False)
        self._wakeup = signal.set_wakeup_fd(self._pipe.fileno(), warn_on_full_buffer=False)
        self._thread = threading.Thread(target=self._watch, args=(theirs,), daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._entered -= 1
        if self._entered or self._pipe is None:
            return
        self._left.set()
        signal.set_wakeup_fd(self._wakeup)
        for number, handler in self._before.items():
            signal.signal(number, handler)
        # The thread ends when its pipe does. One that is still there when the interpreter shuts
        # down is unwound by force, which aborts the process.
        self._pipe.close()
        self._pipe = None
        self._thread.join(GRACE_S)

    def check(self) -> None:
        """Raise ``StopAsked`` if a signal has come."""
        if self.number:
            raise StopAsked

    def _asked(self, number: int, frame: FrameType | None) -> None:
        if self.number:
            name = signal.Signals(number).name
            said = "asked twice, leaves at once; what came after the last checkpoint is not saved"
            _say_in_time(f"{name}: {said}")
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        self.number = number
        before = self._before.get(number)
        if callable(before) and before is not signal.default_int_handler:
            before(number, frame)

    def _watch(self, pipe: socket.socket) -> None:
        """Wait for the first of the three signals, then for the loop."""
        with pipe:
            while True:
                byte = pipe.recv(1)
                if not byte:
                    return
                if byte[0] in self._before:
                    break
            if self._left.wait(self.grace_s):
                return
        stopped = self.last_resort(byte[0])
        _say_in_time(self.words(str(stopped)))
        os._exit(stopped.code)


def _say_in_time(text: str) -> None:
    """Print a line in a thread of its own, since the reader of standard error may have stopped."""
    said = threading.Thread(target=_say, args=(text,), daemon=True)
    said.start()
    said.join(SAY_S)


def _say(text: str) -> None:
    print(f"klamp: {text}", file=sys.stderr, flush=True)


def leave_saying(what: str, *, saved: bool = True) -> Callable[[int], Stopped]:
    """A ``last_resort`` that saves nothing: it prints the signal and ``what``.

    ``saved`` says whether there was nothing left to save.
    """
    return lambda number: Stopped(number, f"{signal.Signals(number).name}: {what}", saved)


def stop_line(number: int, saved: str, folder: object) -> str:
    """One line: which signal, what was saved or not, and how to go on."""
    name = signal.Signals(number).name
    return printable(f"{name}: {saved}; go on with: {resume_call(folder)}")
