"""The lines of a run as columns of numbers, with its settings."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from klamp.config.environment_name import LANGUAGE
from klamp.config.run import Configuration
from klamp.config.validation import is_number
from klamp.errors import CheckpointError, printable
from klamp.reporting.format import MADE
from klamp.runs.metrics_log import Metrics

LARGEST = 1e100
"""Numbers beyond it count as missing: their squares might not be finite."""

FEWEST = 5
"""Updates needed for a finding about what persists."""


class History:
    """The updates of one run, in order. Columns have one number per update; NaN: missing."""

    def __init__(self, config: Configuration, lines: Sequence[Metrics]) -> None:
        """``lines`` are those of `metrics.jsonl`, which may be a stranger's."""
        if not lines:
            raise CheckpointError(
                "The run has no updates in its metrics.jsonl, so there is nothing to explain. "
                "Wait for the first one."
            )
        self.config, self.lines = config, list(lines)
        self.outcomes = [printable(str(line.get("outcome")), 40) for line in lines]
        self.made = np.array([outcome in MADE for outcome in self.outcomes])

    def __len__(self) -> int:
        return len(self.lines)

    @property
    def algorithm(self) -> Any:
        """The algorithm's config, whose fields differ by algorithm."""
        return self.config.algorithm

    def setting(self, name: str) -> Any:
        """A setting of the algorithm, or of the run; None where neither has one of that name."""
        return getattr(self.algorithm, name, getattr(self.config.settings, name, None))

    @property
    def of_language(self) -> bool:
        """Whether it is a language model that was trained."""
        return self.config.env.startswith(LANGUAGE)

    @property
    def larger_batches(self) -> str:
        """The options that make the batches of this run larger."""
        return "--prompts, --generations" if self.of_language else "--rollout-length, --num-envs"

    def column(self, name: str) -> np.ndarray:
        """One number of every update, as float64."""
        values = [line.get(name) for line in self.lines]
        return np.array([_number(value) for value in values], np.float64)

    def told(self, name: str) -> np.ndarray:
        """The numbers of the updates that have one, in order."""
        values = self.column(name)
        return values[~np.isnan(values)]

    def recent(self, name: str) -> np.ndarray:
        """The same for the second half of the run, without the effects of its beginning."""
        values = self.column(name)[len(self) // 2 :]
        return values[~np.isnan(values)]

    def recent_updates(self) -> str:
        """The second half in words."""
        return f"updates {self.update(len(self) // 2):,} to {self.update(-1):,}"

    def update(self, index: int) -> int:
        """The number of an update by its place."""
        return int(self.lines[index]["update"])

    def listed(self, which: np.ndarray) -> str:
        """Which updates: the first ones by number, `update 3`, or `updates 3, 5, 6, … (20)`."""
        numbers = [self.update(int(index)) for index in np.flatnonzero(which)]
        first = ", ".join(f"{number:,}" for number in numbers[:3])
        if len(numbers) == 1:
            return f"update {first}"
        return f"updates {first}" + (f", … ({len(numbers):,} of them)" if numbers[3:] else "")


def median(values: np.ndarray) -> float:
    """The median; NaN, with which every comparison is false, where fewer than ``FEWEST``."""
    return float(np.median(values)) if len(values) >= FEWEST else float("nan")


def _number(value: Any) -> float:
    usable = is_number(value) and abs(value) <= LARGEST
    return float(value) if usable else float("nan")
