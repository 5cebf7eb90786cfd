"""The numbers of a run, one flat dictionary per update, as JSON lines."""

import contextlib
import errno
import itertools
import json
import math
import os
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping
from io import FileIO
from pathlib import Path
from typing import Any

from klamp.config.validation import is_integer
from klamp.errors import CheckpointError, KlampWarning
from klamp.runs.atomic_write import open_to_append, write_atomically
from klamp.runs.bounded_read import Unreadable, lines, parse_object

Metrics = dict[str, Any]

LONGEST_LINE = 2**16
"""Bytes that a line of `metrics.jsonl` may have: sixty times what an update needs."""

LIMIT = 2**32
"""Bytes that `metrics.jsonl` may have: some five million updates."""


def to_json(metrics: Metrics) -> str:
    """One line of strict JSON; NaN and infinity, which JSON lacks, become null."""
    return json.dumps(finite(metrics))


def finite(metrics: Mapping[str, Any]) -> Metrics:
    """The same with None in the place of NaN and infinity."""

    def plain(value: Any) -> Any:
        return None if isinstance(value, float) and not math.isfinite(value) else value

    return {name: plain(value) for name, value in metrics.items()}


class MetricsLog:
    """`metrics.jsonl`, one line per update, whole lines only.

    Lines that a full disk does not take are kept, and written with the next one. The first write
    opens the file and calls ``begin``; the thread that saves when the loop hangs writes, too.
    """

    def __init__(self, path: Path, begin: Callable[[], object] = lambda: None) -> None:
        self._path, self._begin = path, begin
        self._file: FileIO | None = None
        self._waiting: list[str] = []
        self._begun = self._warned = False
        self._turn = threading.Lock()

    @property
    def waiting(self) -> list[Metrics]:
        """The lines that are not in the file."""
        return [json.loads(line) for line in self._waiting]

    def append(self, metrics: Metrics) -> None:
        """Write one update's line."""
        with self._turn:
            self._waiting.append(to_json(metrics) + "\n")
            try:
                self._write()
            except OSError as error:
                if self._warned:
                    return
                self._warned = True
                warnings.warn(
                    f"{self._path} could not be written ({error.strerror or error}). Its lines are "
                    "kept in memory and tried again at each update.",
                    KlampWarning,
                    stacklevel=2,
                )

    def sync(self) -> None:
        """Wait until every line is on the disk; ``OSError`` where it does not take them."""
        with self._turn:
            os.fsync(self._write().fileno())

    def _write(self) -> FileIO:
        if not self._begun:
            self._begin()
            self._begun = True
        if self._file is None:
            self._file = open_to_append(self._path)
        data = "".join(self._waiting).encode()
        end = self._file.seek(0, os.SEEK_END)
        try:
            if self._file.write(data) != len(data):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError:
            with contextlib.suppress(OSError):
                os.truncate(self._path, end)
            raise
        self._waiting.clear()
        return self._file

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
            self._file = None


def read_metrics(path: Path) -> list[Metrics]:
    """All complete lines of a `metrics.jsonl`; a last line cut off by a kill is left out.

    Raises ``CheckpointError`` where another line is damaged.
    """
    return list(metrics_of(path))


def metrics_of(path: Path) -> Iterator[Metrics]:
    """The same line by line; those after the last one that is read may be damaged."""
    return MetricsTail(path).new()


class MetricsTail:
    """Reads a `metrics.jsonl` that a run is writing: each complete line once, as it comes."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._begin_again()

    def _begin_again(self) -> None:
        self._count = self._end = 0
        self._last = b""

    def was_cut(self) -> bool:
        """Whether the last line that was read has changed its place; everything is then read again.

        `klamp resume` cuts the lines of updates that its checkpoint does not know.
        """
        start = self._end - len(self._last)
        try:
            same = next(lines(self._path, LONGEST_LINE, LIMIT, start), b"") == self._last
        except Unreadable:
            same = False
        if self._count and not same:
            self._begin_again()
            return True
        return False

    def new(self) -> Iterator[Metrics]:
        """The complete lines that were not read before.

        Raises ``CheckpointError`` where one is damaged.
        """
        try:
            for line in lines(self._path, LONGEST_LINE, LIMIT, self._end):
                if not line.endswith(b"\n"):
                    return
                where = f"{self._path.name} is damaged in line {self._count + 1}"
                metrics = _metrics(line, where)
                self._count, self._end, self._last = self._count + 1, self._end + len(line), line
                yield metrics
        except Unreadable as error:
            raise CheckpointError(
                f"The metrics {self._path} cannot be read: {error}. Bring the file back from a "
                "copy, or take a damaged line out to go on without it."
            ) from error


def _metrics(line: bytes, where: str) -> Metrics:
    """One line. Raises ``Unreadable``."""
    try:
        metrics = parse_object(line, "it")
    except Unreadable as error:
        raise Unreadable(f"{where}: {error}") from error
    if not is_integer(metrics.get("update"), 0):
        raise Unreadable(f"{where}: it does not tell the update")
    return metrics


def metrics_until(path: Path, update: int) -> list[Metrics]:
    """The lines of the updates before a checkpoint; what comes after them may be damaged."""
    if not os.path.lexists(path):
        return []
    known = itertools.takewhile(lambda line: line["update"] <= update, metrics_of(path))
    return list(itertools.islice(known, update))


def drop_metrics_after(path: Path, update: int) -> None:
    """Cut lines of updates that the checkpoint does not know; they will be made again.

    Lines that are lost for good are warned of.
    """
    kept = metrics_until(path, update)
    if os.path.lexists(path):
        write_atomically(path, "".join(to_json(line) + "\n" for line in kept))
    if len(kept) < update:
        warnings.warn(
            f"{path} has the lines of {len(kept):,} of the {update:,} updates before the "
            "checkpoint. The run goes on; the others are lost.",
            KlampWarning,
            stacklevel=8,
        )
