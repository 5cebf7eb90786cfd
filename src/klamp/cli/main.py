"""The command line: which command runs, and with which code the process ends."""

import os
import select
import sys
from collections.abc import Callable, Sequence
from typing import NamedTuple

from klamp.cli.board import board
from klamp.cli.compare import compare
from klamp.cli.evaluation import evaluate
from klamp.cli.explain import explain
from klamp.cli.exporting import export
from klamp.cli.language import language
from klamp.cli.launch import launch
from klamp.cli.presets import presets
from klamp.cli.resuming import resume
from klamp.cli.sweep import sweep
from klamp.cli.training import train
from klamp.cli.words import on_the_command_line, plain_warnings
from klamp.errors import ConfigError, KlampError, Stopped, closest
from klamp.runtime.streams import open_standard_files, patient_stderr


class Command(NamedTuple):
    """A command of ``klamp``."""

    run: Callable[[list[str]], int]
    """Runs on the words after the command's name; returns the exit code. It imports what it needs
    by itself, so that help answers at once."""
    words: str
    """Its arguments, for the usage."""
    does: str
    """What it does, in a line or two."""


COMMANDS = {
    "train": Command(
        train,
        "ENV [--algo NAME] [--steps N] [--seed S] [--seeds N] [--out DIR] [--config FILE] …",
        "train a policy; ENV is a Gymnasium id such as CartPole-v1, or module:id",
    ),
    "launch": Command(
        launch,
        "--processes P -- train ENV … | resume DIR …",
        "several processes on this machine that train one run together",
    ),
    "presets": Command(
        presets,
        "[ENV] [--algo NAME]",
        "the tuned settings; with ENV all settings of a run, as a file for `klamp train --config`",
    ),
    "resume": Command(
        resume,
        "DIR [--steps N]",
        "go on with a run from its latest checkpoint, or with what is missing of many seeds",
    ),
    "eval": Command(
        evaluate,
        "DIR [--episodes N] [--checkpoint best|last|STEP] [--stochastic] [--video FILE]",
        "run whole episodes with a trained policy",
    ),
    "export": Command(
        export,
        "DIR [--format onnx|numpy] [--out FILE] [--checkpoint best|last|STEP]",
        "write the policy as a file that runs without klamp",
    ),
    "sweep": Command(
        sweep,
        "ENV [--algo NAME] [--trials N] [--steps N] [--jobs N] [--space FILE] …",
        "try settings of an algorithm, and keep the best as a file for `klamp train --config`",
    ),
    "compare": Command(
        compare,
        "DIR … [--out FILE] [--threshold RETURN]",
        "runs side by side: a table with intervals, and a page with plots",
    ),
    "board": Command(board, "[RUNS] [--port N]", "a local page that follows runs as they train"),
    "lm": Command(
        language,
        "train TASK|MODEL [--algo NAME] [--max-kl NATS] … | generate DIR",
        "train a language model by rewards, or let a trained one write",
    ),
    "explain": Command(
        explain,
        "RUN [--update K]",
        "what a run did, what is wrong with it and what to try; or what happened in one update",
    ),
}

USAGE = """\
usage: klamp COMMAND …

Trains policies within trust regions: TRPO, PPO and the family around them.

{commands}

Add --help to a command for all its options. A first run, in under 15 seconds:

  klamp train CartPole-v1

Exit codes: 0 done; 2 bad input; 128 + n stopped by signal n, and saved; 74 what was trained could
not be written, as the last line says; 75 another process of the run was lost: try again.
"""


def usage() -> str:
    """What `klamp --help` prints."""
    lines = [f"  klamp {name} {of.words}\n        {of.does}" for name, of in COMMANDS.items()]
    return USAGE.format(commands="\n".join(lines))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit code, as ``USAGE`` has them."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    open_standard_files()
    with patient_stderr(), plain_warnings():
        try:
            try:
                return _run(words)
            finally:
                print(end="", flush=True)
        except BrokenPipeError:
            # `klamp --help | head -1`: the reader of standard output has closed it.
            if _is_read(sys.stdout.fileno()):
                raise
            _write_nowhere(sys.stdout.fileno())
            return 0


def _run(words: list[str]) -> int:
    try:
        return _dispatch(words)
    except KlampError as error:
        print(f"klamp: {on_the_command_line(str(error))}", file=sys.stderr)
        return error.code
    except Stopped as stopped:
        print(f"klamp: {on_the_command_line(str(stopped))}", file=sys.stderr)
        return stopped.code
    except KeyboardInterrupt:
        print("klamp: interrupted", file=sys.stderr)
        return 130


def _dispatch(words: list[str]) -> int:
    if not words or words[0] in ("-h", "--help", "help"):
        print(usage())
        return 0
    if words[0] in ("--version", "version"):
        from importlib.metadata import version

        print(f"klamp {version('klamp')}")
        return 0
    if words[0] not in COMMANDS:
        raise ConfigError(
            f"There is no command `{words[0]}`.{closest(words[0], list(COMMANDS))} "
            f"Expected one of {', '.join(COMMANDS)}; `klamp --help` shows what they do."
        )
    return COMMANDS[words[0]].run(words[1:])


def _is_read(number: int) -> bool:
    """Whether a pipe still has a reader; False where the system cannot tell."""
    if not hasattr(select, "poll"):
        return False
    poll = select.poll()
    poll.register(number, 0)
    return not any(event & select.POLLERR for _, event in poll.poll(0))


def _write_nowhere(number: int) -> None:
    """Let go of a pipe; what is still buffered is written when the interpreter ends."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, number)
    os.close(nowhere)
