"""The settings of advantage actor-critic."""

from dataclasses import dataclass

from klamp.config.algorithms.traits import Traits, joint_critic
from klamp.config.dialects import answering_dialects
from klamp.config.validation import check


@answering_dialects
@dataclass(frozen=True)
class A2C:
    """Advantage actor-critic: one joint gradient step per batch (arXiv:1602.01783)."""

    learning_rate: float = 1e-3
    """Adam's step size; one step per batch."""
    final_learning_rate: float | None = None
    """The step size at the last step, reached linearly; unset: constant."""
    entropy_coefficient: float = 0.0
    """Weight of the entropy bonus, per nat."""
    value_coefficient: float = 0.5
    """Weight of the value loss E[(V − target)²] beside the policy's objective."""
    max_gradient_norm: float = 0.5
    """The gradient over all parameters together is scaled down to this norm."""

    def __post_init__(self) -> None:
        """Check every field."""
        check(
            self,
            positive=("learning_rate", "max_gradient_norm"),
            not_negative=("final_learning_rate", "entropy_coefficient", "value_coefficient"),
            optional=("final_learning_rate",),
        )

    @property
    def traits(self) -> Traits:
        """The critic is learned together with the policy."""
        return joint_critic(self.value_coefficient)
