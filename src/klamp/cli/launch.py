"""`klamp launch`: several processes of one run on this machine, to try and to test it."""

import os
import signal
import socket
import subprocess
import sys
import threading
from types import FrameType
from typing import IO, Any

from klamp.errors import ConfigError
from klamp.runtime.processes import own_cores
from klamp.runtime.signals import ASKED_BY

LAUNCHED = ("train", "resume", "lm train")
"""The commands that several processes can run together."""


def launch(words: list[str]) -> int:
    """`klamp launch --processes P -- train …`."""
    count, command = _divided(words)
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
    joining = ["--coordinator", address, "--processes", str(count), "--process"]
    started = [
        subprocess.Popen(  # noqa: S603 - the user's own command, without a shell
            [sys.executable, "-m", "klamp", *command, *joining, str(index)],
            # JAX's own warnings are of no use to whoever only tries it.
            env={"TF_CPP_MIN_LOG_LEVEL": "2"} | os.environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            # Ctrl-C reaches the group of this process; it is passed on, once.
            start_new_session=os.name == "posix",
        )
        for index in range(count)
    ]
    own_cores([process.pid for process in started])
    before = {number: signal.signal(number, _passed_on(started)) for number in ASKED_BY}
    try:
        return _first_failure(started)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        for process in started:
            if process.poll() is None:
                process.kill()


def _divided(words: list[str]) -> tuple[int, list[str]]:
    """The number of processes and the command; ``ConfigError`` where the words are others."""
    if words and words[0] in ("-h", "--help"):
        print(HELP)
        raise SystemExit(0)
    own, dashes, command = words, False, list[str]()
    if "--" in words:
        place = words.index("--")
        own, dashes, command = words[:place], True, words[place + 1 :]
    own = own[0].split("=", 1) if len(own) == 1 else own
    if len(own) != 2 or own[0] != "--processes" or not dashes:
        raise ConfigError(
            f"`klamp launch {' '.join(words)}` cannot be read. Write `klamp launch --processes P "
            "-- train ENV …`; what comes after `--` is the command of each process."
        )
    if not own[1].isdigit() or not 1 <= int(own[1]) <= 1024:
        raise ConfigError(
            f"`--processes` of `klamp launch` is `{own[1]}`, but must be an integer from 1 to 1024."
        )
    named = " ".join(command[: 2 if command[:1] == ["lm"] else 1])
    if named not in LAUNCHED:
        raise ConfigError(
            f"`klamp launch` was given the command `{named}`. Expected one of "
            f"{', '.join(LAUNCHED)}, such as `klamp launch --processes 2 -- train CartPole-v1`."
        )
    return int(own[1]), command


HELP = """\
usage: klamp launch --processes P -- train ENV … | lm train TASK|MODEL … | resume DIR …

Starts P processes on this machine that train one run together, over a free port of 127.0.0.1, each
on cores of its own where there are P. Each line of theirs begins with the number of its process.
Signals are passed on to all of them. The exit code is that of the first process that failed, 0
without."""


def _passed_on(started: list[subprocess.Popen[str]]) -> Any:
    """A handler that sends a signal to all processes."""

    def handler(number: int, frame: FrameType | None) -> None:
        for process in started:
            if process.poll() is None:
                process.send_signal(number)

    return handler


def _first_failure(started: list[subprocess.Popen[str]]) -> int:
    """Wait for all; the exit code of the first that failed, as a shell has it."""
    codes: list[int] = []

    def wait(process: subprocess.Popen[str]) -> None:
        code = process.wait()
        if code:
            codes.append(code if code > 0 else 128 - code)

    threads = [threading.Thread(target=wait, args=(process,)) for process in started]
    for index, process in enumerate(started):
        both: list[Any] = [(process.stdout, sys.stdout), (process.stderr, sys.stderr)]
        for source, to in both:
            threads.append(threading.Thread(target=_copy, args=(index, source, to)))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return codes[0] if codes else 0


def _copy(index: int, source: IO[str], to: IO[str]) -> None:
    """The lines of one process, each with its number."""
    with source:
        for line in source:
            to.write(f"[{index}] {line}")
            to.flush()
