"""How far a sweep is, in lines."""

import time
from collections.abc import Callable, Sequence
from typing import TextIO

from klamp.reporting.format import LINE_EVERY_S, duration
from klamp.runtime.streams import patient
from klamp.training.sweep.report import best_of
from klamp.training.sweep.study import Trial
from klamp.training.sweep.workers import BEGUN, ENDED


class SweepProgress:
    """A line for each trial that has ended, and one every few seconds of those that run."""

    def __init__(
        self,
        trials: Callable[[], Sequence[Trial]],
        total: int,
        file: TextIO | None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._trials, self._total = trials, total
        self._file = None if file is None else patient(file)
        self._clock = clock
        self._running: dict[int, tuple[float, float | None]] = {}
        self._began = self._last = clock()
        self._before = sum(trial.ended for trial in trials())

    def hear(self, kind: str, number: int, share: float, mean: float | None) -> None:
        """Take in what a worker told."""
        if self._file is None:
            return
        if kind == ENDED:
            self._running.pop(number, None)
            self._say(self._ended(number))
        else:
            self._running[number] = (share, mean)
        now = self._clock()
        if kind == ENDED or (kind != BEGUN and now - self._last >= LINE_EVERY_S):
            self._last = now
            self._say(self._standing(now - self._began))

    def _say(self, line: str) -> None:
        print(line, file=self._file, flush=True)

    def _ended(self, number: int) -> str:
        trial = self._trials()[number]
        value = "" if trial.value is None else f" {trial.value:,.2f}"
        settings = ", ".join(f"{name}={value}" for name, value in trial.settings.items())
        return f"trial {number} {trial.state}{value}: {trial.why or settings}"

    def _standing(self, spent: float) -> str:
        trials = self._trials()
        ended = sum(trial.ended for trial in trials)
        pruned = sum(trial.state == "pruned" for trial in trials)
        best = best_of(trials)
        found = "none yet" if best is None else f"{best.value:,.2f} (trial {best.number})"
        running = ", ".join(
            f"{number} at {share:.0%}" for number, (share, _) in sorted(self._running.items())
        )
        here = ended - self._before + sum(share for share, _ in self._running.values())
        missing = self._total - self._before - here
        left = missing * spent / here if here > 0 and missing > 0 else None
        return (
            f"{ended} of {self._total} trials ended ({pruned} pruned) · best {found}"
            + (f" · running: {running}" if running else "")
            + (f" · {duration(left)} left" if left is not None else "")
        )
