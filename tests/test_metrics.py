"""Metrics are strict JSON, one line an update, and a torn last line is left out."""

import errno
import json
import os
from pathlib import Path

import jax.numpy as jnp
import pytest

from klamp.errors import CheckpointError, KlampWarning
from klamp.metrics import MetricsLog, metrics_of, read_metrics, report_metrics, to_json
from klamp.trust_region.step import Outcome
from klamp.types import UpdateReport


def test_nan_becomes_null() -> None:
    line = to_json({"a": float("nan"), "b": float("inf"), "c": 1.5, "d": None, "e": "x"})
    assert json.loads(line) == {"a": None, "b": None, "c": 1.5, "d": None, "e": "x"}


def test_a_torn_line_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    log = MetricsLog(path)
    log.append({"update": 1})
    log.append({"update": 2})
    log.close()
    with path.open("a") as file:
        file.write('{"update": 3, "kl": 0.0')
    assert [line["update"] for line in read_metrics(path)] == [1, 2]


def test_nothing_is_touched_before_the_first_write(tmp_path: Path) -> None:
    path, called = tmp_path / "metrics.jsonl", list[bool]()
    log = MetricsLog(path, lambda: called.append(path.exists()))
    assert not path.exists()
    log.append({"update": 1})
    log.append({"update": 2})
    log.close()
    assert called == [False]


def test_lines_that_wait_are_written_before_a_sync_returns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, full = tmp_path / "metrics.jsonl", [True]

    def begin() -> None:
        if full[0]:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    log = MetricsLog(path, begin)
    with pytest.warns(KlampWarning, match="could not be written .No space left on device"):
        log.append({"update": 1})
    log.append({"update": 2, "kl": float("nan")})
    assert log.waiting == [{"update": 1}, {"update": 2, "kl": None}]
    with pytest.raises(OSError, match="No space left"):
        log.sync()
    full[0] = False
    log.sync()
    assert log.waiting == []
    assert [line["update"] for line in read_metrics(path)] == [1, 2]
    log.close()


@pytest.mark.parametrize(
    "line", [b'{"update": 2, "kl": 0.', b"\0\0\0", b"[2]", b'{"kl": 0}', b"\xff", b"[" * 10**5, b""]
)
def test_a_damaged_line_is_named_when_it_is_reached(line: bytes, tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b'{"update": 1}\n' + line + b'\n{"update": 3}\n')
    with pytest.raises(CheckpointError, match=r"metrics\.jsonl is damaged in line 2"):
        read_metrics(path)
    assert next(metrics_of(path)) == {"update": 1}


def test_a_report_becomes_plain_numbers() -> None:
    numbers = [jnp.asarray(float(i)) for i in range(10)]
    outcome = jnp.asarray(int(Outcome.LINE_SEARCH_EXHAUSTED))
    report = UpdateReport(outcome, *numbers, details={"backtracks": jnp.asarray(3)})
    flat = report_metrics(report)
    assert flat["outcome"] == "LINE_SEARCH_EXHAUSTED"
    assert flat["backtracks"] == 3
    assert flat["kl"] == 2.0
    assert all(isinstance(value, int | float | str) for value in flat.values())
