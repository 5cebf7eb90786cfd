"""Event files for TensorBoard, in `tensorboard/` in the run's folder."""

import math
import shutil
import time
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from klamp.reporting.reporter import Told, missing_package
from klamp.runs.metrics_log import finite, metrics_until

FLUSHED_S = 30.0
"""The most seconds between two flushes, which bring the newest points to TensorBoard."""


class TensorBoardLog:
    """A curve per metric, over environment steps.

    When a run starts or is resumed, the files are rewritten from `metrics.jsonl`, so that they hold
    the whole run and no discarded updates. An update is one record, written by the thread that
    trains: a queue in between costs ten times as much, and waits for ever where its thread died of
    a full disk.
    """

    def __init__(self) -> None:
        try:
            self._open: Any = import_module("tensorboardX.event_file_writer").EventsWriter
            self._event: Any = import_module("tensorboardX.proto.event_pb2").Event
        except ImportError as error:
            raise missing_package("tensorboardX", "tensorboard") from error
        self._file: Any = None
        self._flushed = -math.inf

    def update(self, event: Told) -> None:
        """Add a point to each curve."""
        file = self._file or self._begin(event.folder, event.metrics["update"])
        self._add(event.metrics)
        if time.monotonic() - self._flushed >= FLUSHED_S:
            file.flush()
            self._flushed = time.monotonic()

    def close(self) -> None:
        """Write what waits, and close the file."""
        if self._file is not None:
            self._file.close()

    def _begin(self, run: Path, update: int) -> Any:
        """A new file with the points of all updates before this one."""
        folder = run / "tensorboard"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(exist_ok=True)
        self._file = self._open(str(folder / "events"))
        for line in metrics_until(run / "metrics.jsonl", update - 1):
            self._add(line)
        return self._file

    def _add(self, line: Mapping[str, Any]) -> None:
        """One record with every finite number of a line."""
        record = self._event(wall_time=time.time(), step=line["step"])
        add = record.summary.value.add
        for name, value in finite(line).items():
            if isinstance(value, int | float):
                add(tag=name, simple_value=value)
        self._file.write_event(record)
