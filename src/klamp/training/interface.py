"""What the recorder of a run asks of it, whatever is trained."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from klamp.config.run import Configuration
from klamp.envs.host.interface import Position
from klamp.runs.metrics_log import Metrics
from klamp.types import Episode


@runtime_checkable
class Run(Protocol):
    """What the recorder needs of what is trained: ``Iteration`` has it, whatever the policy is."""

    @property
    def config(self) -> Configuration:
        """The run's configuration."""
        ...

    def compile(self, state: Any, /) -> float:
        """Compile what an iteration calls; the seconds it took."""
        ...

    def advance(self, state: Any, check: Callable[[], None] = ..., /) -> tuple[Any, Metrics]:
        """One iteration; ``check`` is called wherever it can be interrupted, and may raise."""
        ...

    def position(self) -> Position:
        """What of the run a checkpoint holds beside its state."""
        ...

    def policy(self, state: Any, /) -> Any:
        """The policy of a state."""
        ...

    @property
    def episodes(self) -> Callable[[], list[Episode]]:
        """Makes those that ended in the last iteration; to be called before the next one."""
        ...


@runtime_checkable
class Evaluation(Protocol):
    """Evaluations while a run trains."""

    took_s: float
    """Seconds spent so far."""

    def due(self, before: int, after: int) -> bool:
        """Whether an update from one number of steps to another is to be evaluated."""
        ...

    def __call__(self, policy: Any, check: Callable[[], None], /) -> Metrics:
        """The metrics of one evaluation."""
        ...

    def film(self, policy: Any, folder: Path, before: int, after: int, /) -> None:
        """Film an episode where an update from one number of steps to another asks for it."""
        ...

    def at_the_end(self, policy: Any, /) -> Metrics:
        """Further entries of the summary, about the last policy."""
        ...

    def close(self) -> None:
        """Release what it holds."""
        ...
