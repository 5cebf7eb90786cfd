"""Metrics are strict JSON, one line an update, and a torn last line is left out."""

import json
from pathlib import Path

import jax.numpy as jnp
import pytest

from klamp.errors import CheckpointError
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
