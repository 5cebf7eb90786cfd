"""Event files for TensorBoard, in `tensorboard/` in the run's folder."""

import shutil
from collections.abc import Mapping
from importlib import import_module
from typing import Any

from klamp.reporting.reporter import Told, missing_package
from klamp.runs.metrics_log import finite, metrics_until


class TensorBoardLog:
    """A curve per metric, over environment steps.

    When a run starts or is resumed, the files are rewritten from `metrics.jsonl`, so that they hold
    the whole run and no discarded updates.
    """

    def __init__(self) -> None:
        try:
            self._make: Any = import_module("tensorboardX").SummaryWriter
        except ImportError as error:
            raise missing_package("tensorboardX", "tensorboard") from error
        self._writer: Any = None

    def update(self, event: Told) -> None:
        """Add a point to each curve."""
        if self._writer is None:
            folder = event.folder / "tensorboard"
            shutil.rmtree(folder, ignore_errors=True)
            self._writer = self._make(str(folder))
            for line in metrics_until(event.folder / "metrics.jsonl", event.metrics["update"] - 1):
                self._add(line)
        self._add(event.metrics)

    def close(self) -> None:
        """Write what waits, and close the file."""
        if self._writer is not None:
            self._writer.close()

    def _add(self, line: Mapping[str, Any]) -> None:
        for name, value in finite(line).items():
            if isinstance(value, int | float):
                self._writer.add_scalar(name, value, line["step"])
