"""What a run tells of itself, and to whom."""

from typing import Protocol, runtime_checkable

from klamp.config.run import RunConfig
from klamp.runs.metrics_log import Metrics


@runtime_checkable
class Reporter(Protocol):
    """Told of a run's start, of every update, and of its end."""

    def start(self, config: RunConfig, folder: str) -> None:
        """A run begins or goes on."""
        ...

    def update(self, metrics: Metrics) -> None:
        """An update was made."""
        ...

    def finish(self, summary: Metrics) -> None:
        """The run is over."""
        ...

    def stop(self) -> None:
        """Give the terminal back; called on every way out."""
        ...


class Silent:
    """Says nothing."""

    def start(self, config: RunConfig, folder: str) -> None:
        """Say nothing."""

    def update(self, metrics: Metrics) -> None:
        """Say nothing."""

    def finish(self, summary: Metrics) -> None:
        """Say nothing."""

    def stop(self) -> None:
        """Nothing to give back."""
