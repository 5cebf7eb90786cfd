"""Flags by name, the missing ones left out, and a whole training where a system has fewer calls."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from klamp.runtime import open_flags
from klamp.runtime.open_flags import flags


def test_a_flag_that_the_system_does_not_have_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC
    assert flags("O_WRONLY", "O_CREAT") == expected
    monkeypatch.delattr(os, "O_CLOEXEC")
    assert flags("O_WRONLY", "O_CREAT", "O_NO_SUCH") == os.O_WRONLY | os.O_CREAT
    monkeypatch.setattr(os, "O_BINARY", 1 << 20, raising=False)
    assert flags("O_WRONLY") == os.O_WRONLY | 1 << 20
    assert open_flags.OPENS_FOLDERS


ELSEWHERE = """
import importlib, os, pkgutil, select, signal, sys, warnings
# What klamp stands on knows its own system: only klamp is to find these missing.
import equinox, filelock, gymnasium, jax, multiprocessing, rich, safetensors.numpy, subprocess, tyro
for module in ("fcntl", "resource", "pwd", "grp", "termios"):
    sys.modules[module] = None
for name in ("SIGUSR1", "SIGUSR2", "SIGALRM", "SIGKILL", "SIGHUP", "SIGSTOP", "pthread_kill"):
    delattr(signal, name)
for name in ("O_NOFOLLOW", "O_NONBLOCK", "O_CLOEXEC", "O_DIRECTORY", "sched_getaffinity", "fork",
             "set_blocking", "getuid", "geteuid", "killpg", "mkfifo"):
    delattr(os, name)
del select.poll
def no_link(*names, **options): raise OSError("no links here")
os.link = no_link
opened = os.open
def no_folders(path, *how, **options):
    if os.path.isdir(path): raise PermissionError(13, "Permission denied", path)
    return opened(path, *how, **options)
os.open = no_folders
class Lock:
    # Theirs, of Windows, does not run here.
    def __init__(self, path, timeout=-1): pass
    def acquire(self): pass
    def release(self): pass
filelock.FileLock = Lock
multiprocessing.get_all_start_methods = lambda: ["spawn"]

import klamp
# Each of these needs a package that may not be there.
for found in pkgutil.walk_packages(klamp.__path__, "klamp."):
    if found.name != "klamp.__main__":
        importlib.import_module(found.name)
from klamp.cli.main import main
small = "--num-envs 2 --rollout-length 16 --hidden-sizes 4 --epochs 1 --minibatch-size 32".split()
assert main(["train", "CartPole-v1", "--steps", "64", "--out", "run", "--quiet", *small]) == 0
assert main(["resume", "run", "--steps", "96", "--quiet"]) == 0
assert main(["eval", "run", "--episodes", "1"]) == 0
assert klamp.load("run").act([0.0] * 4) in (0, 1)
"""


@pytest.mark.slow
def test_a_system_without_unix_calls_imports_trains_and_evaluates(tmp_path: Path) -> None:
    """Stand-ins for Windows: no SIGUSR1, no fcntl, no folders that can be opened, spawn alone."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", ELSEWHERE],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "KLAMP_CACHE": "off"},
    )
    assert done.returncode == 0, done.stderr
