"""Asked once, the loop leaves where it can; the thread of last resort where it does not."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import pytest

from klamp.errors import Stopped
from klamp.runtime.signals import ASKED_BY, Signals, StopAsked, leave_saying, stop_line


@pytest.fixture(autouse=True)
def ctrl_c() -> Iterator[None]:
    """Shells have their jobs in the background ignore it, the tests too where they are one."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def nobody(number: int) -> Stopped:
    raise AssertionError(f"not asked for {number}")


@pytest.mark.parametrize("number", ASKED_BY)
def test_the_loop_leaves_at_its_next_look(number: int) -> None:
    before = {each: signal.getsignal(each) for each in ASKED_BY}
    with Signals(nobody) as signals:
        signals.check()
        os.kill(os.getpid(), number)
        with pytest.raises(StopAsked):
            signals.check()
        assert signals.number == number
    assert {each: signal.getsignal(each) for each in ASKED_BY} == before
    name = signal.Signals(number).name
    line = stop_line(number, "saved at step 7", "runs/x")
    assert line == f"{name}: saved at step 7; go on with: klamp.resume('runs/x')"


def test_how_a_run_was_stopped_is_no_exception_and_has_its_code() -> None:
    assert not issubclass(Stopped, Exception)
    assert Stopped(signal.SIGTERM, "").code == 143
    assert Stopped(signal.SIGTERM, "", saved=False).code == 74


def test_a_handler_of_the_users_own_is_called_and_given_back() -> None:
    seen: list[int] = []
    mine = lambda number, frame: seen.append(number)  # noqa: E731
    before = signal.signal(signal.SIGUSR1, mine)
    try:
        with Signals(nobody):
            os.kill(os.getpid(), signal.SIGUSR1)
        assert seen == [signal.SIGUSR1]
        assert signal.getsignal(signal.SIGUSR1) is mine
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_what_is_ignored_stays_ignored() -> None:
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        with Signals(nobody) as signals:
            os.kill(os.getpid(), signal.SIGTERM)
            signals.check()
    finally:
        signal.signal(signal.SIGTERM, before)


def test_other_threads_change_nothing() -> None:
    before = signal.getsignal(signal.SIGTERM)
    found: list[object] = []

    def inside() -> None:
        with Signals(nobody) as signals:
            signals.check()
            found.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=inside)
    thread.start()
    thread.join()
    assert found == [before]


def test_its_thread_and_its_pipe_end_with_it() -> None:
    handles, threads = len(os.listdir("/dev/fd")), threading.active_count()
    for _ in range(5):
        with Signals(nobody):
            pass
    deadline = time.monotonic() + 5
    while threading.active_count() > threads and time.monotonic() < deadline:
        time.sleep(0.01)
    assert threading.active_count() == threads
    assert len(os.listdir("/dev/fd")) == handles


PROGRAM = """
import sys, time, signal
import klamp.runtime.signals
from klamp.errors import Stopped
from klamp.runtime.signals import Signals, stop_line
klamp.runtime.signals.GRACE_S = klamp.runtime.signals.SAY_S = 0.2
def last(number): return Stopped(number, stop_line(number, "saved", "here"), {saved})
with Signals(last) as signals:
    print("ready", flush=True)
    {body}
"""


def run(body: str, *numbers: int, saved: bool = True) -> tuple[int, str]:
    program = PROGRAM.format(body=body, saved=saved)
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        child.stdout.readline()
        for number in numbers:
            child.send_signal(number)
            time.sleep(0.05)
        return child.wait(timeout=10), child.communicate()[1]


@pytest.mark.parametrize(("saved", "code"), [(True, 128 + signal.SIGTERM), (False, 74)])
def test_a_loop_that_hangs_is_left_by_the_thread(saved: bool, code: int) -> None:
    line = stop_line(signal.SIGTERM, "saved", "here")
    assert run("time.sleep(60)", signal.SIGTERM, saved=saved) == (code, f"klamp: {line}\n")


def test_who_does_not_read_what_is_said_does_not_keep_it() -> None:
    """The pipe is full, and the loop hangs in a write to it."""
    body = "while True: sys.stderr.write('x' * 1000)"
    code, said = run(body, signal.SIGTERM)
    assert code == 128 + signal.SIGTERM
    assert said.startswith("x" * 1000)


def test_the_second_signal_leaves_at_once_and_says_so() -> None:
    body = "klamp.runtime.signals.GRACE_S = 50\n    while True: time.sleep(0.01)"
    code, said = run(body, signal.SIGTERM, signal.SIGTERM)
    assert code == -signal.SIGTERM
    assert said == (
        "klamp: SIGTERM: asked twice, leaves at once; what came after the last checkpoint is not "
        "saved\n"
    )


def test_no_thread_is_left_for_the_interpreter_to_unwind() -> None:
    """A daemon thread that wakes while the interpreter shuts down aborts the process."""
    before = threading.active_count()
    for asked in (False, True):
        with Signals(nobody):
            assert threading.active_count() == before + 1
            if asked:
                os.kill(os.getpid(), signal.SIGUSR1)
        assert threading.active_count() == before


def test_with_nothing_to_save_it_says_so() -> None:
    stopped = leave_saying("nothing had been trained yet")(signal.SIGTERM)
    assert (str(stopped), stopped.code) == ("SIGTERM: nothing had been trained yet", 143)
