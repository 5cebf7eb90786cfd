"""Who is alive is known from locks that end with a process, not from time that passes."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from klamp.errors import ConfigError
from klamp.training.sweep.presence import FilePresence, presence_of

HOLD = """
import sys
from pathlib import Path
from klamp.training.sweep.presence import FilePresence
here = FilePresence(Path(sys.argv[1]))
print(here.worker, flush=True)
sys.stdin.read()
"""


def test_a_stopped_worker_is_alive_and_a_killed_one_is_not(tmp_path: Path) -> None:
    here = FilePresence(tmp_path)
    other = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with other:
        assert other.stdout is not None
        worker = other.stdout.readline().strip()
        with here.alone():
            assert here.alive(here.worker)
            assert here.alive(worker)
            os.kill(other.pid, signal.SIGSTOP)
            assert here.alive(worker)
            os.kill(other.pid, signal.SIGKILL)
            other.wait()
            assert not here.alive(worker)
            assert not here.alive("nobody")
    here.close()


def test_one_turn_at_a_time(tmp_path: Path) -> None:
    first, second = FilePresence(tmp_path), FilePresence(tmp_path)
    order: list[str] = []

    def take() -> None:
        with second.alone():
            order.append("second")

    with first.alone():
        waiting = threading.Thread(target=take)
        waiting.start()
        waiting.join(0.2)
        order.append("first")
    waiting.join()
    assert order == ["first", "second"]
    for presence in (first, second):
        presence.close()


def test_other_servers_are_refused() -> None:
    with pytest.raises(ConfigError, match="dead from one that is slow"):
        presence_of("mysql://user:secret@host/db", "sweep")
