"""An environment that gives no answer is given up, whatever it does instead."""

import signal
import subprocess
import sys
import threading
import time
from typing import Any

import pytest
from own_environments import Line, Race, Slow

from klamp.config.settings import Settings
from klamp.envs.checks.startup import check_environment
from klamp.envs.checks.time_limit import limited
from klamp.envs.source import resolve
from klamp.errors import EnvironmentFault


def test_a_step_that_hangs_and_swallows_exceptions_is_given_up() -> None:
    """The bug: nothing ended this, whatever `step_limit_s` said."""
    with pytest.raises(EnvironmentFault, match=r"`step\(.* of `Slow` gave no answer in 0.3 s"):
        check_environment(resolve(Slow), Settings(step_limit_s=0.3))


class NeverMade(Line):
    def __init__(self) -> None:
        threading.Event().wait()


def test_a_constructor_that_hangs_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("klamp.envs.checks.one_copy.CONSTRUCTION_LIMIT_S", 0.3)
    with pytest.raises(EnvironmentFault, match="The constructor of `NeverMade` gave no answer"):
        check_environment(resolve(NeverMade), Settings(step_limit_s=0.3))


class Second(Line):
    """One that waits for ever in a call, the second copy alone."""

    made = 0

    def __init__(self, call: str) -> None:
        super().__init__()
        type(self).made += 1
        if type(self).made % 2 == 0:
            setattr(self, call, lambda *_, **__: threading.Event().wait())


def test_a_second_copy_that_hangs_is_given_up() -> None:
    with pytest.raises(EnvironmentFault, match=r"`reset\(seed=\d+\)` of `Second` gave no answer"):
        check_environment(resolve(Second, {"call": "reset"}), Settings(step_limit_s=0.3))
    with pytest.raises(EnvironmentFault, match="close of `Second` gave no answer"):
        check_environment(resolve(Second, {"call": "close"}), Settings(step_limit_s=0.3))


def test_a_copy_that_hangs_after_a_fault_too_is_given_up() -> None:
    class Both(Slow):
        def close(self) -> None:
            threading.Event().wait()

    with pytest.raises(EnvironmentFault, match=r"`step\(.* of `Both` gave no answer in 0.2 s"):
        check_environment(resolve(Both), Settings(step_limit_s=0.2))


class NeverReset(Race):
    def reset(self, *, seed: Any = None, options: Any = None) -> Any:
        threading.Event().wait()


def test_a_vector_environment_that_hangs_is_given_up() -> None:
    with pytest.raises(EnvironmentFault, match="`reset` of `NeverReset` gave no answer"):
        check_environment(resolve(NeverReset()), Settings(step_limit_s=0.3, num_envs=3))


def test_what_is_in_time_is_left_alone() -> None:
    before = signal.getsignal(signal.SIGALRM)
    with limited("env", "call", 60.0):
        pass
    assert signal.getsignal(signal.SIGALRM) is before


def test_an_alarm_of_somebody_elses_is_heard() -> None:
    heard = []
    before = signal.signal(signal.SIGALRM, lambda number, frame: heard.append(number))
    try:
        with limited("env", "call", 60.0):
            signal.raise_signal(signal.SIGALRM)
    finally:
        signal.signal(signal.SIGALRM, before)
    assert heard == [signal.SIGALRM]


def test_other_threads_have_no_limit() -> None:
    done = []

    def call() -> None:
        with limited("env", "call", 0.01):
            time.sleep(0.1)
        done.append(True)

    thread = threading.Thread(target=call)
    thread.start()
    thread.join()
    assert done == [True]


def test_code_that_never_returns_to_python_ends_the_process() -> None:
    program = (
        "import ctypes, klamp.envs.checks.time_limit as limit\n"
        "limit.GRACE_S = limit.AGAIN_S = 0.1\n"
        # Signals are asked for in a loop, as a library does that waits in its own way.
        "libc = ctypes.CDLL(None)\n"
        "with limit.limited('Sim', '`reset`', 0.1):\n"
        "    lock = ctypes.create_string_buffer(64)\n"
        "    libc.pthread_mutex_lock(lock); libc.pthread_mutex_lock(lock)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stderr.startswith("klamp: `reset` of `Sim` gave no answer in 0.1 s")
