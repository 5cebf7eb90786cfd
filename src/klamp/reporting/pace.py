"""Elapsed time and time left of a run."""

import time
from collections.abc import Callable, Mapping
from typing import Any

from klamp.config.run import Configuration

HALF_LIFE_S = 10.0
"""Seconds after which a measurement counts half; a quarter of the run where that is longer."""

FEWEST = 2
"""Measurements needed for an estimate of the time left: the first two updates are slower."""


class Pace:
    """Elapsed time, and an estimate of the time left that excludes what happens only once.

    Measured from one update to the next, so that compiling, which comes before the first, is not
    extrapolated, and checkpoints and logs are. Evaluations are rarer than updates: their mean time
    is estimated separately, times the number still to come.
    """

    def __init__(
        self,
        steps: int,
        eval_interval: int | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``steps`` are all that are to be made; ``eval_interval`` as in the settings."""
        self._steps, self._eval_interval, self._clock = steps, eval_interval, clock
        self._began = self._now = clock()
        self._step: int | None = None
        self._measured = 0
        self._weighted_s = self._weighted_steps = 0.0
        self._evaluations, self._evaluating_s = 0, 0.0

    @classmethod
    def of(cls, config: Configuration, clock: Callable[[], float] = time.monotonic) -> "Pace":
        """Of one run."""
        return cls(config.settings.steps, config.settings.eval_interval, clock)

    def hear(self, metrics: Mapping[str, Any]) -> None:
        """An update of one run was made, and perhaps evaluated."""
        trained_s = None
        if "eval_return_mean" in metrics and self._step is not None:
            trained_s = (metrics["step"] - self._step) / max(metrics["steps_per_second"], 1e-9)
        self.update(metrics["step"], trained_s)

    def update(self, step: int, trained_s: float | None = None, *, skipped: int = 0) -> None:
        """``step`` steps are made, ``skipped`` of the new ones before this began.

        ``trained_s`` is given where there was an evaluation since the last update: the seconds
        without it.
        """
        now, before = self._clock(), self._step
        passed, self._now, self._step = now - self._now, now, step
        if before is None:
            return
        if trained_s is not None:
            trained_s = min(trained_s, passed)
            self._evaluations += 1
            self._evaluating_s += passed - trained_s
            passed = trained_s
        half_life = max(HALF_LIFE_S, self.elapsed / 4)
        kept = 0.5 ** (passed / half_life)
        self._weighted_s = kept * self._weighted_s + passed
        self._weighted_steps = kept * self._weighted_steps + step - before - skipped
        self._measured += 1

    @property
    def elapsed(self) -> float:
        """Seconds since this began."""
        return self._clock() - self._began

    @property
    def speed(self) -> float | None:
        """Environment steps per second, without evaluations; None while that is not known."""
        known = self._measured >= FEWEST and self._weighted_s > 0
        return self._weighted_steps / self._weighted_s if known else None

    @property
    def left(self) -> float | None:
        """Seconds left, minus those since the last update; None while that is not known."""
        speed, step = self.speed, self._step
        if not speed or step is None:
            return None
        estimate = max(self._steps - step, 0) / speed
        if self._evaluations and self._eval_interval:
            to_come = self._steps // self._eval_interval - step // self._eval_interval
            estimate += max(to_come, 0) * self._evaluating_s / self._evaluations
        return max(estimate - (self._clock() - self._now), 0.0)
