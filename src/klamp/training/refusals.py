"""Updates that are refused: how many in a row end a run, and a bound too small to be measured."""

import warnings

from klamp.config.run import Configuration
from klamp.errors import KlampWarning, NonFiniteError
from klamp.runs.metrics_log import Metrics
from klamp.training.state import Progress

REFUSALS = 10
"""Updates in a row that may be refused because something is not finite."""


def refused_too_often(state: Progress) -> bool:
    """Whether ``REFUSALS`` updates in a row, up to this state, were refused."""
    return int(state.refused[0]) >= REFUSALS


def refusals_error(reported: Metrics, saved: str) -> NonFiniteError:
    """The exception that ends such a run; ``saved`` says what became of its checkpoint."""
    return NonFiniteError(
        f"{REFUSALS} updates in a row were refused, the last because of "
        f"{reported['non_finite']}. No parameter has changed since ({saved}). "
        "Scale the rewards and observations (`normalize_reward=True`, "
        "`normalize_observation=True`), lower the step size, or mend the environment."
    )


class UnresolvedBound:
    """Warns, once per run, of a trust region smaller than float32 can resolve."""

    def __init__(self, config: Configuration) -> None:
        self._max_kl: float | None = getattr(config.algorithm, "max_kl", None)
        self._told = False

    def hear(self, metrics: Metrics) -> None:
        """Take in the metrics of an update."""
        resolution = metrics.get("kl_resolution") or 0
        if self._max_kl is None or self._told or resolution <= self._max_kl:
            return
        self._told = True
        warnings.warn(
            f"`max_kl` is {self._max_kl:g} nats, but at update {metrics['update']:,} float32 tells "
            f"the policies of this run apart from {resolution:.2g} nats on: their means "
            "are too large beside their standard deviations. Such updates are refused. Give a "
            "larger `max_kl=…`, scale the actions to about 1, or begin with larger deviations "
            "(`initial_log_std=…`).",
            KlampWarning,
            stacklevel=3,
        )
