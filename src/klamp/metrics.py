"""The numbers of a run, one flat dictionary an update, as JSON lines."""

import json
import math
from pathlib import Path
from typing import Any

import jax
import numpy as np

from klamp.trust_region.step import Outcome
from klamp.types import UpdateReport

Metrics = dict[str, Any]


def report_metrics(report: UpdateReport) -> Metrics:
    """An update's report as plain numbers; the outcome by its name."""
    numbers = jax.device_get(report._asdict())
    details = numbers.pop("details")
    flat: Metrics = {}
    for name, value in (numbers | details).items():
        scalar = np.asarray(value).item()
        flat[name] = scalar
    flat["outcome"] = Outcome(int(flat["outcome"])).name
    return flat


def to_json(metrics: Metrics) -> str:
    """One line of strict JSON; NaN and infinity, which JSON lacks, become null."""

    def plain(value: Any) -> Any:
        return None if isinstance(value, float) and not math.isfinite(value) else value

    return json.dumps({name: plain(value) for name, value in metrics.items()})


class MetricsLog:
    """`metrics.jsonl`, one line an update, flushed as it is written."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("a", encoding="utf-8")

    def append(self, metrics: Metrics) -> None:
        """Write one update's line."""
        self._file.write(to_json(metrics) + "\n")
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def read_metrics(path: Path) -> list[Metrics]:
    """All complete lines of a `metrics.jsonl`; a last line cut off by a kill is left out."""
    lines = path.read_text(encoding="utf-8").split("\n")
    return [json.loads(line) for line in lines[:-1] if line]
