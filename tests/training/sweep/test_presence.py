"""Who is alive is known from locks that end with a process, not from time that passes."""

import importlib.util
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

import pytest

from klamp.errors import ConfigError
from klamp.training.sweep.presence import FilePresence, PostgresPresence, presence_of

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


@pytest.mark.slow
def test_a_session_that_ends_is_a_dead_worker(tmp_path: Path) -> None:
    """With a real PostgreSQL server; its programs are in Debian's package `postgresql`."""
    pytest.importorskip("sqlalchemy")
    pytest.importorskip("psycopg")
    if not list(Path("/usr/lib/postgresql").glob("*/bin/initdb")):
        pytest.skip("there is no PostgreSQL server here")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        with benchmark().server(Path(folder), port) as url:
            here, other = PostgresPresence(url, "sweep"), PostgresPresence(url, "sweep")
            elsewhere = PostgresPresence(url, "another sweep")
            with here.alone():
                assert here.alive(here.worker)
                assert here.alive(other.worker)
                assert not here.alive(elsewhere.worker), "of another sweep"
                with elsewhere.alone():
                    other.close()
                assert not here.alive(other.worker)
            elsewhere.close()
            here.close()


def benchmark() -> Any:
    """The server of `benchmarks/sweep.py`."""
    path = Path(__file__).parents[3] / "benchmarks" / "sweep.py"
    spec = importlib.util.spec_from_file_location("benchmark_of_sweeps", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
