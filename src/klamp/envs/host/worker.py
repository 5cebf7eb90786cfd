"""What runs in a worker: one environment, asked for resets and steps through a pipe.

Observations go into shared memory; the rest of an answer is small. Nothing here imports JAX.
"""

import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from multiprocessing import connection, parent_process
from multiprocessing.connection import Connection
from typing import Any

import cloudpickle
from gymnasium.vector.utils import write_to_shared_memory

from klamp.envs import MASK_KEY
from klamp.envs.host.copies import Info, check_end
from klamp.envs.host.info_numbers import numbers_of
from klamp.runtime.signals import ASKED_BY
from klamp.runtime.streams import patient_stderr

Answer = tuple[str, Any]
"""("done", what the command returns) or ("fault", (call, type of exception, text, traceback))."""


@patient_stderr()
def work(pipe: Connection, make: bytes, memory: Any, index: int) -> None:
    """Make the environment, then answer commands until told to stop or the pipe closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for number in ASKED_BY:
        if number != signal.SIGINT:
            signal.signal(number, signal.SIG_DFL)
    sys.stdin.close()
    threading.Thread(target=_die_with_parent, daemon=True).start()
    worker = Worker(index, memory)
    commands: dict[str, Callable[[Any], Any]] = {
        "make": worker.make,
        "reset": worker.reset,
        "step": worker.step,
        "replay": worker.replay,
    }
    command: str = "make"
    data: Any = make
    while command != "close":
        try:
            answer: Answer = ("done", commands[command](data))
        except BaseException as error:  # SystemExit, too, is sent to the parent
            text = " ".join(str(error).split())
            answer = ("fault", (command, type(error).__name__, text, traceback.format_exc()))
        try:
            pipe.send(answer)
            command, data = pipe.recv()
        except (EOFError, OSError):
            break
    worker.close()


class Worker:
    """One environment, and the shared memory that its observations go into."""

    def __init__(self, index: int, memory: Any) -> None:
        self._index, self._memory = index, memory
        self._env: Any = None

    def make(self, make: bytes) -> tuple[Any, Any]:
        """Make the environment; its spaces."""
        self._env = cloudpickle.loads(make)()
        return self._env.observation_space, self._env.action_space

    def reset(self, seed: int) -> Info:
        """Reset; the info with the mask alone."""
        observation, info = self._env.reset(seed=seed)
        self._show(observation)
        return {MASK_KEY: info[MASK_KEY]} if MASK_KEY in info else {}

    def step(self, action: Any) -> tuple[float, bool, bool, Info]:
        """Step; returns reward, terminated, truncated, and the parts of the info that are used."""
        observation, reward, terminated, truncated, info = self._env.step(action)
        check_end(terminated, truncated, info)
        self._show(observation)
        kept: Info = numbers_of(info) if terminated or truncated else {}
        if MASK_KEY in info:
            kept[MASK_KEY] = info[MASK_KEY]
        return float(reward), bool(terminated), bool(truncated), kept

    def replay(self, episode: tuple[int, list[Any]]) -> tuple[float, bool, bool, Info]:
        """Reset with a seed and take the actions; what the last of them returned."""
        seed, actions = episode
        last = (0.0, False, False, self.reset(seed))
        for action in actions:
            last = self.step(action)
        return last

    def close(self) -> None:
        """Free the environment."""
        if self._env is not None:
            self._env.close()

    def _show(self, observation: Any) -> None:
        space = self._env.observation_space
        write_to_shared_memory(space, self._index, observation, self._memory)


def _die_with_parent() -> None:
    """End with the process that made this one, even in the middle of a step."""
    parent = parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
        os._exit(1)
