"""The logs that have a name: ``report=["tensorboard"]`` in Python, ``--log tensorboard``."""

from collections.abc import Callable

from klamp.errors import ConfigError, closest
from klamp.reporting.csv import CsvLog
from klamp.reporting.episodes import EpisodesLog
from klamp.reporting.reporter import Log
from klamp.reporting.tensorboard import TensorBoardLog
from klamp.reporting.wandb import WandbLog

LOGS: dict[str, Callable[[], Log]] = {
    "csv": CsvLog,
    "episodes": EpisodesLog,
    "tensorboard": TensorBoardLog,
    "wandb": WandbLog,
}


def log_of(name: str) -> Log:
    """A new log; ``ConfigError`` where none has that name, or its package is missing."""
    if name not in LOGS:
        raise ConfigError(
            f"There is no log `{name}`.{closest(name, LOGS)} Expected one of {', '.join(LOGS)}."
        )
    return LOGS[name]()
