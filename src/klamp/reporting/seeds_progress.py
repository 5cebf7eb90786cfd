"""How far many runs are, in one line."""

import time
from typing import TextIO

from klamp.config.run import RunConfig
from klamp.reporting.format import LINE_EVERY_S, duration
from klamp.runtime.streams import patient


class Progress:
    """One line every few seconds about all runs."""

    def __init__(self, config: RunConfig, runs: int, file: TextIO | None) -> None:
        self._total, self._runs = config.settings.steps * runs, runs
        self._file = None if file is None else patient(file)
        self._steps: dict[int, int] = {}
        self._returns: dict[int, float] = {}
        self._done = 0
        self._began = self._last = time.monotonic()

    def hear(self, kind: str, seed: int, step: int, mean: float | None) -> None:
        """Take in what a run told; a line if the last one was some time ago."""
        self._steps[seed] = step
        if mean is not None:
            self._returns[seed] = mean
        self._done += kind == "done"
        now = time.monotonic()
        if self._file is not None and (kind == "done" or now - self._last >= LINE_EVERY_S):
            self._last = now
            print(self._line(now - self._began), file=self._file, flush=True)

    def _line(self, spent: float) -> str:
        steps = sum(self._steps.values())
        speed = steps / max(spent, 1e-9)
        returns = sorted(self._returns.values())
        shown = (
            f"returns {sum(returns) / len(returns):.1f} ({returns[0]:.1f} to {returns[-1]:.1f})"
            if returns
            else "no episode has ended"
        )
        left = duration(max(self._total - steps, 0) / max(speed, 1e-9))
        return (
            f"{self._done} of {self._runs} runs done · step {steps:,} of {self._total:,} · "
            f"{speed:,.0f} steps/s · {shown} · {left} left"
        )
