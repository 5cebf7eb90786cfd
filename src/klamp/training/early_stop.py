"""Ending a run before all of its steps are made, as its settings say."""

from klamp.collection.episodes import WINDOW
from klamp.config.run import KeptSettings
from klamp.runs.metrics_log import Metrics


class EarlyStop:
    """Watches the mean return of a run: of its evaluations, or of its training without them."""

    def __init__(self, settings: KeptSettings) -> None:
        self._settings = settings
        self._best: float | None = None
        self._since = 0
        self._best_step = 0

    def hear(self, metrics: Metrics) -> str | None:
        """Why the run is to end after an update, if it is.

        It depends on the updates heard so far only: a resumed run hears its earlier ones first.
        """
        mean = self._mean(metrics)
        if mean is None:
            return None
        if self._best is None or mean > self._best:
            self._best, self._since, self._best_step = mean, 0, metrics["step"]
        else:
            self._since += 1
        return self._reached(mean) or self._stands_still()

    @property
    def needs_the_past(self) -> bool:
        """Whether the decision depends on earlier updates."""
        return self._settings.stop_on_plateau is not None

    def _mean(self, metrics: Metrics) -> float | None:
        """The return that decides; None where an update has none that counts."""
        if self._settings.eval_interval is not None:
            return metrics.get("eval_return_mean")
        return metrics["return_mean"] if metrics["episodes"] >= WINDOW else None

    def _reached(self, mean: float) -> str | None:
        threshold = self._settings.stop_at_return
        if threshold is None or mean < threshold:
            return None
        evaluated = self._settings.eval_interval is not None
        name = "of the evaluation" if evaluated else f"of the last {WINDOW} training episodes"
        return f"the mean return {name}, {mean:.6g}, has reached {threshold:g}"

    def _stands_still(self) -> str | None:
        most = self._settings.stop_on_plateau
        if most is None or self._since < most:
            return None
        kind = "evaluation" if self._settings.eval_interval is not None else "update"
        kinds = kind if most == 1 else f"{kind}s"
        return (
            f"{most:,} {kinds} in a row had no mean return above {self._best:.6g}, that of step "
            f"{self._best_step:,}"
        )
