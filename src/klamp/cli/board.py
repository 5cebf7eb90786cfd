"""`klamp board`."""

import os
import shlex
from dataclasses import make_dataclass
from pathlib import Path
from signal import SIGINT

from klamp.cli.options import parse
from klamp.errors import ConfigError, Stopped, printable

PORT = 8765


def board(words: list[str]) -> int:
    """`klamp board [RUNS]`."""
    import tyro

    options = make_dataclass(
        "BoardOptions",
        [
            ("folder", tyro.conf.Positional[Path], Path("runs")),
            ("port", int, PORT),
        ],
    )
    options.__doc__ = """Follow runs in a browser.

    Args:
        folder: A run, a folder of seeds, or a folder of these.
        port: Where on 127.0.0.1 the page is; 0 takes any port that is free.
    """
    given = parse(
        options,
        words,
        command="board",
        description="A local page that follows runs: what `klamp compare` shows, live.",
    )
    if not given.folder.is_dir():
        raise ConfigError(
            f"There is no folder {given.folder} to follow. Write `klamp board DIR` with a run's "
            "folder, or the one that runs lie in; `klamp train` makes `runs`."
        )
    return _serve(given.folder, given.port, words)


def _serve(folder: Path, port: int, words: list[str]) -> int:
    """Answer until Ctrl-C."""
    from importlib.metadata import version

    from klamp.evaluation.comparison.board import HERE, Board
    from klamp.evaluation.comparison.page import About

    command = shlex.join(["klamp", "board", *words])
    about = About("klamp board", command, f"following {folder}", version("klamp"), live=True)
    try:
        server = Board(folder, port, about)
    except (OSError, OverflowError) as error:
        raise ConfigError(
            f"The port {port} of {HERE} cannot be had ({getattr(error, 'strerror', error)}). "
            "Choose another with `--port`, or `--port 0` for any that is free."
        ) from error
    # What trains comes first.
    os.nice(5)
    print(f"{printable(str(folder))} is followed at {server.address} (Ctrl-C ends it)", flush=True)
    try:
        with server:
            server.serve_forever()
    except KeyboardInterrupt:
        raise Stopped(SIGINT, "the board has ended; nothing of the runs was touched") from None
    return 0
