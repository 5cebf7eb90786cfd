"""The settings of REINFORCE."""

from dataclasses import dataclass
from typing import Literal

from klamp.config.algorithms.traits import Traits
from klamp.config.dialects import answering_dialects
from klamp.config.validation import check

Baseline = Literal["none", "batch-mean", "value"]


@answering_dialects
@dataclass(frozen=True)
class REINFORCE:
    """The policy gradient with Monte-Carlo returns: ∇ log π·R (Williams 1992)."""

    baseline: Baseline = "value"
    """The baseline of the return: none, its mean over the batch, or a learned V."""
    learning_rate: float = 1e-2
    """Adam's step size; one step per batch."""
    entropy_coefficient: float = 0.0
    """Weight of the entropy bonus, per nat."""
    max_gradient_norm: float = 0.5
    """The gradient is scaled down to this norm."""

    def __post_init__(self) -> None:
        """Check every field."""
        check(
            self,
            positive=("learning_rate", "max_gradient_norm"),
            not_negative=("entropy_coefficient",),
            choices={"baseline": ("none", "batch-mean", "value")},
        )

    @property
    def traits(self) -> Traits:
        """The critic is fitted after the step; the baseline decides over advantage and target.

        Without V the return is not standardised, which would subtract a baseline.
        """
        implied = {"advantage_estimator": "return", "advantage_normalization": "off"}
        if self.baseline == "value":
            implied = {"advantage_estimator": "monte-carlo", "value_target": "monte-carlo"}
        without = "without V for its `baseline`, REINFORCE learns no critic"
        return Traits(
            critic="fit",
            without_critic=None if self.baseline == "value" else without,
            implied_settings=implied,
            implied_by=f"the baseline {self.baseline!r} of REINFORCE",
        )
