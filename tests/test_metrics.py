"""Metrics are strict JSON, one line an update, and a torn last line is left out."""

import json
from pathlib import Path

import jax.numpy as jnp

from klamp.metrics import MetricsLog, read_metrics, report_metrics, to_json
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


def test_a_report_becomes_plain_numbers() -> None:
    numbers = [jnp.asarray(float(i)) for i in range(10)]
    outcome = jnp.asarray(int(Outcome.LINE_SEARCH_EXHAUSTED))
    report = UpdateReport(outcome, *numbers, details={"backtracks": jnp.asarray(3)})
    flat = report_metrics(report)
    assert flat["outcome"] == "LINE_SEARCH_EXHAUSTED"
    assert flat["backtracks"] == 3
    assert flat["kl"] == 2.0
    assert all(isinstance(value, int | float | str) for value in flat.values())
