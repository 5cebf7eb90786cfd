"""Who of the processes of a run is there: each says so every second, and hears the others.

It goes through the key-value store of the coordinator, which process 0 holds. A process that is
killed or stopped, or whose machine or network is gone, falls silent; one that comes to its end says
how. Silence is counted by a clock that stands while this process does: where a whole machine was
asleep, nobody is taken for lost.
"""

import json
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any, NamedTuple

from klamp.errors import KlampError, ProcessLost

BEAT_S = 0.5
"""Seconds between two signs of life."""

SUSPICIOUS_S = 4.0
"""Seconds of silence after which a process is taken for lost where a connection was lost, too."""

FOLDER = "klamp/alive"


class Member(NamedTuple):
    """A process of a run."""

    number: int
    host: str
    pid: int

    def __str__(self) -> str:
        """As messages name it."""
        return f"Process {self.number} ({self.pid} on {self.host})"


class Ended(KlampError):
    """Another process of the run has come to its end, with this exit code and text."""

    def __init__(self, member: Member, code: int, text: str) -> None:
        super().__init__(f"{member} has ended the run: {text}")
        self.code = code


@contextmanager
def until_ended() -> Generator[None]:
    """What ends without an error where another process has come to its end with exit code 0."""
    try:
        yield
    except Ended as ended:
        if ended.code:
            raise


class Watch:
    """A thread that tells the others of this process, and knows when each was heard last."""

    def __init__(self, client: Any, index: int, members: list[Member], lost_after_s: float) -> None:
        """``client`` is JAX's coordination client; ``lost_after_s`` seconds of silence: lost."""
        self._client, self._index, self._members = client, index, members
        self._lost_after_s = lost_after_s
        self._own: dict[str, Any] = {"beat": 0, "stop": 0, "ended": None}
        self._now_s = 0.0
        self._heard: dict[int, tuple[dict[str, Any], float]] = {
            member.number: ({}, self._now_s) for member in members if member.number != index
        }
        self._turn, self._left = threading.Lock(), threading.Event()
        self.on_stop: Callable[[int], object] = lambda number: None
        """Called with the number of a signal that another process was sent."""
        self.asked: Callable[[], int] = lambda: 0
        """The number of the signal that this process was sent; 0 without."""
        self.on_loss: Callable[[ProcessLost], object] = lambda loss: None
        """Called again and again while a process is lost."""
        self.at_abort: object = None
        """Kept here, since the C library has a pointer to it."""
        work = (self._run, self._count)
        self._threads = [threading.Thread(target=each, daemon=True) for each in work]

    def start(self) -> None:
        """Begin to tell and to hear."""
        self._tell()
        for thread in self._threads:
            thread.start()

    def check(self) -> None:
        """Raise ``Ended`` where another process has ended, ``ProcessLost`` where one is silent."""
        for index, (word, _) in self._heard.items():
            if word.get("ended") is not None:
                raise Ended(self._members[index], *word["ended"])
        if (loss := self.loss()) is not None:
            raise loss

    def loss(self, silent_s: float | None = None) -> ProcessLost | None:
        """The first process that has been silent for too long, in words."""
        limit = self._lost_after_s if silent_s is None else silent_s
        for index, (word, at) in self._heard.items():
            silent = self._now_s - at
            if word.get("ended") is None and silent > limit:
                return self.lost(index, f"has not been heard of for {silent:.0f} s")
        return None

    def lost(self, index: int, how: str) -> ProcessLost:
        """The error of a process that is lost."""
        return ProcessLost(
            f"{self._members[index]} {how}: it was killed, hangs, or cannot be reached. All "
            "processes of the run stop; what came after the last checkpoint is not saved. Resume "
            "the run under the same launcher."
        )

    def suspect(self) -> KlampError | None:
        """Which process is gone, after a connection to one was lost; None where all are there."""
        limit = time.monotonic() + self._lost_after_s
        while time.monotonic() < limit:
            try:
                self.check()
            except KlampError as error:
                return error
            if (loss := self.loss(SUSPICIOUS_S)) is not None:
                return loss
            time.sleep(BEAT_S / 2)
        return None

    def end(self, code: int, text: str) -> None:
        """Tell all how this process ends."""
        if self._own["ended"] is None:
            self._own["ended"] = [code, text]
            self._tell()

    @property
    def ended(self) -> int | None:
        """The exit code with which this process ends; None before."""
        return None if self._own["ended"] is None else self._own["ended"][0]

    def wait_for_all(self, seconds: float) -> None:
        """Until every other process has ended or is lost, but no longer."""
        limit = time.monotonic() + seconds
        while time.monotonic() < limit:
            words = [word for word, _ in self._heard.values()]
            if all(word.get("ended") is not None for word in words) or self.loss(seconds / 2):
                return
            time.sleep(0.02)

    def leave(self) -> None:
        """End the thread."""
        self._left.set()
        for thread in self._threads:
            thread.join(2 * BEAT_S)

    def _tell(self) -> None:
        with self._turn:
            self._own |= {"beat": self._own["beat"] + 1, "stop": self.asked()}
            word = json.dumps(self._own)
            self._client.key_value_set(f"{FOLDER}/{self._index}", word, allow_overwrite=True)

    def _hear(self) -> None:
        for name, text in self._client.key_value_dir_get(FOLDER):
            index = int(name.rpartition("/")[2])
            word = json.loads(text)
            if index in self._heard and word != self._heard[index][0]:
                self._heard[index] = (word, self._now_s)
        stops = [word.get("stop", 0) for word, _ in self._heard.values()]
        if any(stops):
            self.on_stop(max(stops))

    def _run(self) -> None:
        while not self._left.wait(BEAT_S):
            try:
                self._tell()
                self._hear()
            except RuntimeError:
                # The store does not answer: process 0, which holds it, falls silent like others.
                continue

    def _count(self) -> None:
        """The clock; a store that is stopped does not hold it up."""
        while not self._left.wait(BEAT_S):
            self._now_s += BEAT_S
            if (loss := self.loss()) is not None:
                self.on_loss(loss)
