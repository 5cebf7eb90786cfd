"""What the processes of a run tell each other between two updates: small arrays, and commands.

Process 0 leads: it alone writes the run's folder, evaluates and decides, and tells the others when
to make an iteration and when to say where their environments stand. It goes through the key-value
store of JAX's coordinator. The arrays of the update itself never come here: they are XLA's.
"""

import threading
from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

import numpy as np
import safetensors.numpy

from klamp.runtime.signals import Signals, StopAsked
from klamp.runtime.watch import Watch

Arrays = dict[str, np.ndarray]
"""What one process tells, by name."""

SLICE_MS = 500
"""Milliseconds of waiting after which is looked whether the others are still there."""

CLOSED = "has closed the connection"
"""How process 0, which holds the store, is known to be lost before it is silent for long."""

STOP = "stop"
"""The name under which a process tells the number of the signal that it was sent."""


@runtime_checkable
class Processes(Protocol):
    """The processes of a run, as one of them sees them."""

    @property
    def index(self) -> int:
        """Which of them this is, from 0."""
        ...

    @property
    def count(self) -> int:
        """How many there are."""
        ...

    def lead(self, command: str) -> None:
        """Tell the others what to do next, where this is process 0."""
        ...

    def exchange(self, make: Callable[[], Arrays]) -> list[Arrays]:
        """What ``make`` returns in each of them, in their order; all of them call this."""
        ...

    def gather(self, command: str) -> list[Arrays]:
        """In process 0: what each of the others answers to a command, in their order."""
        ...

    def explained(self, error: Exception) -> Exception:
        """The error of a collective operation: most often because a process is gone."""
        ...


class Alone:
    """One process."""

    index, count = 0, 1

    def lead(self, command: str) -> None:
        """There is nobody to be told."""

    def exchange(self, make: Callable[[], Arrays]) -> list[Arrays]:
        """Its own."""
        return [make()]

    def gather(self, command: str) -> list[Arrays]:
        """There is nobody to answer."""
        return []

    def explained(self, error: Exception) -> Exception:
        """It is its own."""
        return error


ALONE = Alone()
"""The one process of most runs."""


class Joined:
    """Several processes, joined by JAX's coordinator."""

    def __init__(self, client: Any, index: int, count: int, watch: Watch) -> None:
        self._client, self.index, self.count, self.watch = client, index, count, watch
        self._signals: Signals | None = None
        self._number = self._forgotten = 0

    def heed(self, signals: Signals) -> None:
        """Stop all where one is asked to: ``signals`` are those of this process."""
        self._signals = signals
        # No process can save by itself, so none leaves before all have come to one exchange.
        signals.grace_s = threading.TIMEOUT_MAX

        def asked(number: int) -> None:
            signals.number = signals.number or number

        self.watch.on_stop, self.watch.asked = asked, lambda: signals.number

    def lead(self, command: str) -> None:
        """Tell the others what to do next, where this is process 0."""
        if self.index == 0:
            self._set(self._name("command"), command.encode())

    def command(self) -> str:
        """What process 0 wants next."""
        return self._get(self._name("command")).decode()

    def exchange(self, make: Callable[[], Arrays]) -> list[Arrays]:
        """What ``make`` returns in each process, in their order; all of them call this.

        Raises ``StopAsked`` in all of them where it raises that in one; ``Ended`` or
        ``ProcessLost`` where one does not come to it.
        """
        name, stopped = self._name("part"), False
        try:
            own = make()
        except StopAsked:
            stopped, own = True, {}
        number = 0 if self._signals is None else self._signals.number
        own = own | {STOP: np.asarray(number if stopped else 0)}
        self._set(f"{name}/{self.index}", packed(own))
        if self.index == 0:
            parts = [self._get(f"{name}/{index}") for index in range(self.count)]
            sizes = np.array([len(part) for part in parts])
            self._set(name, packed({"sizes": sizes, "parts": _bytes(b"".join(parts))}))
        parts = _divided(unpacked(self._get(name)))
        self._forget()
        asked = max(int(part.pop(STOP)) for part in parts)
        if asked or stopped:
            if self._signals is not None and not self._signals.number:
                self._signals.number = asked
            raise StopAsked
        return parts

    def gather(self, command: str) -> list[Arrays]:
        """In process 0: what each of the others answers to a command, in their order."""
        self.lead(command)
        name = self._name("answer")
        return [unpacked(self._get(f"{name}/{index}")) for index in range(1, self.count)]

    def answer(self, own: Arrays) -> None:
        """In the other processes: the answer to a command of ``gather``."""
        self._set(f"{self._name('answer')}/{self.index}", packed(own))

    def explained(self, error: Exception) -> Exception:
        """The error of a collective operation: most often because a process is gone."""
        return self.watch.suspect() or error

    def _name(self, kind: str) -> str:
        """The name of the next message; every process counts them alike."""
        self._number += 1
        return f"klamp/{self._number:012d}/{kind}"

    def _forget(self) -> None:
        """Remove the messages that all have read, since all have come to one after them."""
        if self.index == 0:
            for number in range(self._forgotten + 1, self._number):
                self._client.key_value_delete(f"klamp/{number:012d}/")
            self._forgotten = self._number - 1

    def _set(self, name: str, value: bytes) -> None:
        try:
            self._client.key_value_set_bytes(name, value)
        except RuntimeError as error:
            self.watch.check()
            raise self.watch.lost(0, CLOSED) from error

    def _get(self, name: str) -> bytes:
        while True:
            try:
                return self._client.blocking_key_value_get_bytes(name, SLICE_MS)
            except RuntimeError as error:
                self.watch.check()
                if "DEADLINE_EXCEEDED" not in str(error):
                    raise self.watch.lost(0, CLOSED) from error


def packed(arrays: Arrays) -> bytes:
    """Arrays as bytes."""
    # In the order of C: safetensors would write the memory of a transposed array as it lies.
    ordered = {name: np.array(array, order="C") for name, array in arrays.items()}
    return safetensors.numpy.save(ordered)


def unpacked(data: bytes) -> Arrays:
    """The inverse."""
    return safetensors.numpy.load(data)


def _bytes(data: bytes) -> np.ndarray:
    return np.frombuffer(data, np.uint8)


def _divided(whole: Arrays) -> list[Arrays]:
    """The parts of all processes."""
    ends = np.cumsum(whole["sizes"]).tolist()
    data = whole["parts"].tobytes()
    return [unpacked(data[start:end]) for start, end in zip([0, *ends], ends, strict=False)]
