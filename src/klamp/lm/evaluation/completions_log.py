"""`completions.jsonl`: some of what the policy wrote for each update, one line each."""

from pathlib import Path
from typing import Any, Protocol

from klamp.runs.atomic_write import write_atomically
from klamp.runs.metrics_log import Metrics, MetricsLog, metrics_of, to_json
from klamp.training.callbacks import UpdateEvent

NAME = "completions.jsonl"

LETTERS = 4000
"""Of a prompt or a completion, at most."""


class Writes(Protocol):
    """What the log asks of a run."""

    def samples(self) -> list[dict[str, Any]]:
        """Some completions of the last update, as the lines have them."""
        ...


class CompletionsLog:
    """A reporter that keeps the first completions of each update.

    It is told before the metrics are written and a checkpoint is made, so that the lines of every
    update that a checkpoint knows are there.
    """

    def __init__(self, folder: Path, run: Writes, after: int = 0) -> None:
        """``after``: the update that the run goes on from; lines of later ones are cut first."""
        self._log = MetricsLog(folder / NAME, lambda: trim(folder, after))
        self._run = run

    def update(self, event: UpdateEvent) -> None:
        """Write the lines of one update."""
        for line in self._run.samples():
            texts = {key: value[:LETTERS] for key, value in line.items() if isinstance(value, str)}
            self._log.append({"update": event.metrics["update"]} | line | texts)

    def close(self) -> None:
        """Close the file."""
        self._log.close()


def trim(folder: Path, update: int) -> None:
    """Cut the lines of updates that the checkpoint does not know; they will be made again."""
    path = folder / NAME
    if not path.exists():
        return
    kept: list[Metrics] = []
    for line in metrics_of(path):
        if line["update"] > update:
            break
        kept.append(line)
    write_atomically(path, "".join(to_json(line) + "\n" for line in kept))
