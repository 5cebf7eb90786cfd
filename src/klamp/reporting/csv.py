"""`metrics.csv`: the lines of `metrics.jsonl` as a table, one row per update."""

import csv
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from io import FileIO, StringIO
from os.path import samestat
from pathlib import Path
from typing import Any

from klamp.reporting.reporter import Told
from klamp.runs.atomic_write import open_to_append, write_atomically
from klamp.runs.metrics_log import finite, metrics_until


class CsvLog:
    """Keeps `metrics.csv` equal to `metrics.jsonl`, also after a run was stopped."""

    def __init__(self) -> None:
        self._columns: list[str] = []
        self._file: FileIO | None = None

    def update(self, event: Told) -> None:
        """Add a row; rewrite the table where this update has a new metric."""
        path, metrics = event.folder / "metrics.csv", event.metrics
        if self._stands(path) and metrics.keys() <= set(self._columns):
            assert self._file is not None
            self._file.write(_table(self._columns, [metrics]))
            return
        self.close()
        lines = metrics_until(event.folder / "metrics.jsonl", metrics["update"] - 1)
        # Columns are in the order of their first appearance.
        self._columns = list(dict.fromkeys(name for line in (*lines, metrics) for name in line))
        head = dict(zip(self._columns, self._columns, strict=True))
        write_atomically(path, _table(self._columns, [head, *lines, metrics]))
        self._file = open_to_append(path)

    def _stands(self, path: Path) -> bool:
        """Whether the open file still has that name: no row may go into one that is lost."""
        with suppress(FileNotFoundError):
            return self._file is not None and samestat(os.fstat(self._file.fileno()), path.stat())
        return False

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
            self._file = None


def _table(columns: list[str], rows: Sequence[Mapping[str, Any]]) -> bytes:
    """Rows in the form of RFC 4180; a value that is missing or not finite is an empty cell."""
    text = StringIO(newline="")
    csv.DictWriter(text, columns).writerows(map(finite, rows))
    return text.getvalue().encode()
