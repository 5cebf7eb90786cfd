"""A local page with the runs of a folder: `klamp compare`, live.

It answers two addresses, ``/`` and ``/main``, to GET alone, on 127.0.0.1 alone, and only where the
Host header names this machine: a web page from elsewhere whose name was made to point here (DNS
rebinding) is refused. No address names a file. Runs behind links that lead out of the folder are
passed over.
"""

import hashlib
import os
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from klamp.errors import CheckpointError
from klamp.evaluation.comparison.groups import grouped
from klamp.evaluation.comparison.page import About, main_part, page, policy
from klamp.evaluation.comparison.reading import MOST_RUNS, Run, RunReader, named, runs_in

HERE = "127.0.0.1"
NAME = re.compile(r"(127\.0\.0\.1|localhost)(:[0-9]{1,5})?")
"""The allowed Host headers; the port may be that of an SSH tunnel."""

PATIENCE_S = 10.0
"""Seconds that a request may take to arrive."""


class Follower:
    """The current runs of a folder; unchanged files are not read again."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._readers: dict[Path, RunReader] = {}
        self._shown: tuple[list[Run], list[str]] | None = None
        self._main = b""
        self._turn = threading.Lock()

    def main(self) -> bytes:
        """The page's main part, made again where a run has changed."""
        with self._turn:
            runs, notes = self._look()
            if self._shown is None or notes != self._shown[1] or not _same(runs, self._shown[0]):
                empty = [f"There is no update of a run in {self._folder} yet."]
                text = main_part(grouped(runs), notes if runs else [*notes, *empty], None)
                self._main, self._shown = text.encode(), (runs, notes)
            return self._main

    def _look(self) -> tuple[list[Run], list[str]]:
        """Every run, and what is passed over."""
        root = os.path.realpath(self._folder)
        paths = [path for path in runs_in(self._folder) if _is_within(path, root)]
        notes: list[str] = []
        if len(paths) > MOST_RUNS:
            notes.append(f"Only {MOST_RUNS:,} of {len(paths):,} runs are shown.")
        self._readers = {
            path: self._readers.get(path) or RunReader(path) for path in paths[:MOST_RUNS]
        }
        runs: list[Run] = []
        early: list[Path] = []
        for path, reader in self._readers.items():
            try:
                run = reader.read()
            except CheckpointError as error:
                notes.append(str(error))
                continue
            if run is None:
                early.append(path)
            else:
                runs.append(run)
        notes += [f"Without an update yet: {named(early)}."] if early else []
        return runs, notes


def _same(runs: list[Run], others: list[Run]) -> bool:
    """Whether these are the very same runs, none of them read again."""
    return len(runs) == len(others) and all(a is b for a, b in zip(runs, others, strict=True))


def _is_within(path: Path, root: str) -> bool:
    """Whether a folder lies below another one when all links are followed."""
    return os.path.commonpath([os.path.realpath(path), root]) == root


class Board(ThreadingHTTPServer):
    """The server: ``serve_forever`` runs it at ``address``."""

    daemon_threads = True

    def __init__(self, folder: Path, port: int, about: About) -> None:
        """Bind the port, 0 for any free one; raises ``OSError`` where it is taken."""
        super().__init__((HERE, port), _Handler)
        self.follower = Follower(folder)
        self.about = about

    @property
    def address(self) -> str:
        """The address to open in a browser."""
        return f"http://{HERE}:{self.server_port}/"

    def handle_error(self, request: object, client_address: object) -> None:
        """Ignore a browser that closed the connection."""


class _Handler(BaseHTTPRequestHandler):
    """Answers one request."""

    timeout = PATIENCE_S
    server_version, sys_version = "klamp", ""

    def do_GET(self) -> None:
        """The page, or its main part where that is another than the browser has."""
        assert isinstance(self.server, Board)
        if not _names_this_machine(self.headers.get_all("Host") or []):
            self._answer(403, b"This board answers to 127.0.0.1 and localhost only.")
        elif self.path == "/":
            self._answer(
                200, page(self.server.about, self.server.follower.main().decode()).encode()
            )
        elif self.path == "/main":
            self._answer_main(self.server.follower.main())
        else:
            self._answer(404, b"There is nothing here.")

    def _answer_main(self, main: bytes) -> None:
        tag = f'"{hashlib.sha256(main).hexdigest()[:32]}"'
        if self.headers.get("If-None-Match") == tag:
            self._answer(304, b"", tag)
        else:
            self._answer(200, main, tag)

    def _refuse(self) -> None:
        self._answer(405, b"This board is to be read: GET only.")

    do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = _refuse  # noqa: N815

    def _answer(self, status: int, body: bytes, tag: str = "") -> None:
        kind = "html" if status == 200 else "plain"
        headers = {
            "Content-Type": f"text/{kind}; charset=utf-8",
            "Content-Length": str(len(body)),
            "Content-Security-Policy": policy(live=True) + "; frame-ancestors 'none'",
            "Cross-Origin-Resource-Policy": "same-origin",
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "no-referrer",
            "Cache-Control": "no-store",
        } | ({"ETag": tag} if tag else {})
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: requests come once per second."""


def _names_this_machine(hosts: list[str]) -> bool:
    """Whether a request has one Host header, with one of our names."""
    return len(hosts) == 1 and NAME.fullmatch(hosts[0]) is not None
