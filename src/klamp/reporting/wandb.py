"""Weights & Biases: the metrics of a run, in a project called `klamp`.

Its own environment variables decide where the numbers go, and under whose name:
`WANDB_MODE=offline`, `WANDB_PROJECT`, `WANDB_ENTITY`.
"""

import os
import secrets
from importlib import import_module
from typing import Any

from klamp.reporting.reporter import Told, missing_package
from klamp.runs.atomic_write import write_atomically
from klamp.runs.bounded_read import read_bounded
from klamp.runs.metrics_log import Metrics, finite


class WandbLog:
    """One W&B run per run, whose name is in `wandb.id`; a resumed run continues its own."""

    def __init__(self) -> None:
        try:
            self._wandb: Any = import_module("wandb")
        except ImportError as error:
            raise missing_package("wandb", "wandb") from error
        self._run: Any = None

    def update(self, event: Told) -> None:
        """Send the numbers of this update."""
        if self._run is None:
            name = event.folder / "wandb.id"
            if not name.exists():
                write_atomically(name, secrets.token_hex(8))
            self._run = self._wandb.init(
                project=os.environ.get("WANDB_PROJECT", "klamp"),
                id=read_bounded(name, 64).decode(),
                name=event.folder.name,
                dir=str(event.folder),
                config=event.config.to_dict(),
                resume="allow",
            )
        known = {name: value for name, value in finite(event.metrics).items() if value is not None}
        self._run.log(known, step=event.metrics["step"])

    def finish(self, summary: Metrics) -> None:
        """Send the summary."""
        if self._run is not None:
            self._run.summary.update(finite(summary))

    def close(self) -> None:
        """Wait until all is sent."""
        if self._run is not None:
            self._run.finish()
