"""`episodes.csv`: one line per training episode that has ended."""

import csv
from collections.abc import Iterator, Mapping, Sequence
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from klamp.reporting.reporter import Told
from klamp.runs.atomic_write import open_to_append, write_atomically
from klamp.runs.bounded_read import Unreadable, lines
from klamp.runs.metrics_log import LIMIT, LONGEST_LINE

if TYPE_CHECKING:
    from klamp.types import Episode

COLUMNS = ("step", "update", "environment", "seed", "return", "length", "end")


class EpisodesLog:
    """Writes each episode once, also after a run was stopped.

    Those of updates that a resumed run makes again are taken out before. Of episodes that ended
    while the log was not there, nothing is known.
    """

    def __init__(self) -> None:
        self._columns: list[str] = []

    def update(self, event: Told) -> None:
        """Add a line per episode; rewrite the table where one has a new number."""
        path, update = event.folder / "episodes.csv", event.metrics["update"]
        rows = [_row(episode, update) for episode in event.episodes]
        names = list(dict.fromkeys(name for row in rows for name in row))
        if self._columns and set(names) <= set(self._columns):
            if rows:
                with open_to_append(path) as file:
                    file.write(_table(self._columns, rows))
            return
        before = list(_rows_before(path, update))
        known = dict.fromkeys((*COLUMNS, *(name for row in before[:1] for name in row), *names))
        self._columns = list(known)
        head = dict(zip(self._columns, self._columns, strict=True))
        write_atomically(path, _table(self._columns, [head, *before, *rows]))


def _row(episode: "Episode", update: int) -> dict[str, Any]:
    """An episode under the names of the columns; a number of its info under its own."""
    ends = "terminated" if episode.terminated else "truncated"
    first = (episode.step, update, episode.environment, episode.seed, episode.total)
    row = dict(zip(COLUMNS, (*first, episode.length, ends), strict=True))
    return row | {f"info_{name}": value for name, value in episode.numbers.items()}


def _rows_before(path: Path, update: int) -> Iterator[dict[str, Any]]:
    """The rows of the updates before one, as they are in the file; none where there is no file.

    A last row that a kill has cut off is of an update that no checkpoint knows.
    """
    if not path.exists():
        return
    try:
        whole = (line.decode() for line in lines(path, LONGEST_LINE, LIMIT) if line[-1:] == b"\n")
        for row in csv.DictReader(whole):
            if None in row.values() or int(row["update"]) >= update:
                return
            yield row
    except (Unreadable, ValueError, KeyError, csv.Error):
        # Content from elsewhere is replaced.
        return


def _table(columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> bytes:
    """Rows in the form of RFC 4180; what an episode does not have is an empty cell."""
    text = StringIO(newline="")
    csv.DictWriter(text, columns).writerows(rows)
    return text.getvalue().encode()
