"""The progress of many runs, from their messages."""

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from klamp.config.run import RunConfig
from klamp.reporting.format import duration, number
from klamp.reporting.pace import Pace
from klamp.reporting.sparkline import Sparkline
from klamp.runs.metrics_log import Metrics

BEGUN, UPDATE, REFUSED, DONE, FAILED = "begun", "update", "refused", "done", "failed"
"""The messages of a run: its start, last update, a refused update, its summary, why it ended."""


class Member:
    """One of the runs."""

    def __init__(self) -> None:
        self.state = "waiting"
        self.metrics: Mapping[str, Any] = {}
        self.course = Sparkline()

    @property
    def step(self) -> int:
        """Environment steps that are made."""
        return self.metrics.get("step", 0)


class Progress:
    """All runs, and their common progress."""

    def __init__(
        self,
        config: RunConfig,
        seeds: Iterable[int],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.config = config
        self.members = {seed: Member() for seed in seeds}
        self.total = config.settings.steps * len(self.members)
        self.pace = Pace(self.total, clock=clock)

    def had(self, seed: int, summary: Metrics) -> None:
        """A run was finished before."""
        member = self.members[seed]
        member.state, member.metrics = DONE, summary
        member.course.add(summary["return_mean"])

    def hear(self, kind: str, seed: int, told: Any) -> None:
        """Take in a message of a run: metrics, or a text."""
        member = self.members[seed]
        if kind != REFUSED:
            member.state = "compiling" if kind == BEGUN else kind
        if kind in (UPDATE, DONE):
            # The steps before its first message, perhaps before a resume, took unknown time.
            skipped = 0 if member.metrics else told["step"]
            member.metrics = told
            member.course.add(told["return_mean"])
            self.pace.update(self.step, skipped=skipped)

    @property
    def step(self) -> int:
        """Environment steps of all runs."""
        return sum(member.step for member in self.members.values())

    @property
    def done(self) -> int:
        """Runs that have come to their end."""
        return sum(member.state == DONE for member in self.members.values())

    def summary(self) -> str:
        """All of them in a line: done, steps, speed, returns, time left."""
        parts = [f"{self.done} of {len(self.members)} runs done"]
        parts.append(f"step {self.step:,} of {self.total:,}")
        if (speed := self.pace.speed) is not None:
            parts.append(f"{speed:,.0f} steps/s")
        parts.append(self.returns())
        if (left := self.pace.left) is not None and self.done < len(self.members):
            parts.append(f"{duration(left)} left")
        return " · ".join(parts)

    def returns(self) -> str:
        """The mean of the runs' returns, and the least and the greatest of them."""
        known = [member.metrics.get("return_mean") for member in self.members.values()]
        means = sorted(mean for mean in known if mean is not None)
        if not means:
            return "no episode has ended"
        mean = sum(means) / len(means)
        return f"returns {number(mean)} ({number(means[0])} to {number(means[-1])})"
