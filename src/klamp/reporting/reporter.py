"""What the logs of this folder read of an update.

A user's own reporters may read and do more (``training.callbacks.UpdateEvent``).
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from klamp.config.run import Configuration
from klamp.errors import ConfigError, install_extra

if TYPE_CHECKING:
    from klamp.types import Episode


class Told(Protocol):
    """An update of a run."""

    @property
    def config(self) -> Configuration:
        """The run's configuration."""
        ...

    @property
    def folder(self) -> Path:
        """The run's folder."""
        ...

    @property
    def metrics(self) -> Mapping[str, Any]:
        """The line of `metrics.jsonl`, which is written already."""
        ...

    @property
    def episodes(self) -> "Sequence[Episode]":
        """The training episodes that ended in its rollout, in their order."""
        ...


class Log(Protocol):
    """Called at each update.

    ``start``, ``compiling``, ``finish`` and ``close`` are called where it has them.
    """

    def update(self, event: Told, /) -> object:
        """An update was made."""
        ...


def missing_package(package: str, name: str) -> ConfigError:
    """The error of a log that needs a package which is not installed."""
    return ConfigError(
        f"The log `{name}` needs the package `{package}`, which is not installed. "
        f"{install_extra(name)} Or leave the log out: `metrics.jsonl` of the run has every number."
    )
