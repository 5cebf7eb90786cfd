"""`metrics.csv` says what `metrics.jsonl` says: late columns, kills and all."""

import csv
import json
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from klamp.reporting.csv import CsvLog
from klamp.runs.metrics_log import to_json

LINES: list[dict[str, Any]] = [
    {"step": 8, "update": 1, "kl": 0.25, "outcome": "ACCEPTED"},
    {"step": 16, "update": 2, "kl": math.nan, "outcome": "NON_FINITE", "non_finite": 'a "b", c'},
    {"step": 24, "update": 3, "kl": None, "outcome": "ACCEPTED"},
    {"step": 32, "update": 4, "kl": 0.5, "outcome": "ACCEPTED", "height": 2},
]
TABLE = [
    {
        "step": "8",
        "update": "1",
        "kl": "0.25",
        "outcome": "ACCEPTED",
        "non_finite": "",
        "height": "",
    },
    {
        "step": "16",
        "update": "2",
        "kl": "",
        "outcome": "NON_FINITE",
        "non_finite": 'a "b", c',
        "height": "",
    },
    {"step": "24", "update": "3", "kl": "", "outcome": "ACCEPTED", "non_finite": "", "height": ""},
    {
        "step": "32",
        "update": "4",
        "kl": "0.5",
        "outcome": "ACCEPTED",
        "non_finite": "",
        "height": "2",
    },
]


def told(folder: Path, line: dict[str, Any]) -> Any:
    """An update whose line is written already."""
    with (folder / "metrics.jsonl").open("a") as file:
        file.write(to_json(line) + "\n")
    return SimpleNamespace(folder=folder, metrics=line)


def table(folder: Path) -> list[dict[str, str]]:
    with (folder / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_row_per_update_with_columns_that_come_late(tmp_path: Path) -> None:
    log = CsvLog()
    for line in LINES:
        log.update(told(tmp_path, line))
    assert table(tmp_path) == TABLE, "what is read while the run trains is whole"
    log.close()


def test_a_run_that_goes_on_writes_the_table_of_one_never_stopped(tmp_path: Path) -> None:
    first = CsvLog()
    for line in LINES[:3]:
        first.update(told(tmp_path, line))
    first.close()
    # Killed, and gone on with from a checkpoint of update 1.
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines(keepends=True)
    assert json.loads(lines[0])["update"] == 1
    (tmp_path / "metrics.jsonl").write_text(lines[0])
    second = CsvLog()
    for line in LINES[1:]:
        second.update(told(tmp_path, line))
    second.close()
    assert table(tmp_path) == TABLE


def test_a_table_that_was_taken_away_is_made_again(tmp_path: Path) -> None:
    log = CsvLog()
    for line in LINES[:2]:
        log.update(told(tmp_path, line))
    (tmp_path / "metrics.csv").unlink()
    for line in LINES[2:]:
        log.update(told(tmp_path, line))
    log.close()
    assert table(tmp_path) == TABLE


def test_a_folder_in_its_place_is_an_error_and_no_row_is_lost_in_silence(tmp_path: Path) -> None:
    log = CsvLog()
    log.update(told(tmp_path, LINES[0]))
    (tmp_path / "metrics.csv").unlink()
    (tmp_path / "metrics.csv").mkdir()
    with pytest.raises(OSError, match=r"metrics\.csv"):
        log.update(told(tmp_path, LINES[1]))
    log.close()
