"""The settings of proximal policy optimisation with a KL penalty."""

from dataclasses import dataclass

from klamp.config.algorithms.traits import Traits, joint_critic
from klamp.config.dialects import answering_dialects
from klamp.config.validation import check, require


@answering_dialects
@dataclass(frozen=True)
class PPOPenalty:
    """Proximal policy optimisation with a KL penalty (arXiv:1707.06347, §4)."""

    kl_coefficient: float = 1.0
    """β, the coefficient of KL(old‖new), per nat; where it adapts, the first one."""
    target_kl: float | None = 0.01
    """β doubles after an update whose exact mean KL(old‖new) was above 1.5 times this, and halves
    after one below it by 1.5; unset: β is fixed."""
    epochs: int = 10
    """Passes over each batch."""
    minibatch_size: int = 64
    """Samples in each gradient step; where the batch is below the default, all of it."""
    learning_rate: float = 3e-4
    """Adam's step size."""
    final_learning_rate: float | None = None
    """The step size at the last step, reached linearly; unset: constant."""
    entropy_coefficient: float = 0.0
    """Weight of the entropy bonus, per nat."""
    value_coefficient: float = 0.5
    """Weight of the value loss E[(V − target)²] beside the surrogate."""
    max_gradient_norm: float = 0.5
    """The gradient over all parameters together is scaled down to this norm."""

    def __post_init__(self) -> None:
        """Check every field."""
        check(
            self,
            positive=("learning_rate", "max_gradient_norm", "target_kl"),
            not_negative=(
                "kl_coefficient",
                "final_learning_rate",
                "entropy_coefficient",
                "value_coefficient",
            ),
            counts=("epochs", "minibatch_size"),
            optional=("final_learning_rate", "target_kl"),
        )
        movable = self.target_kl is None or self.kl_coefficient > 0
        require(movable, self, "kl_coefficient", "a number > 0 where it adapts (0 stays 0)")

    @property
    def traits(self) -> Traits:
        """The critic is learned together with the policy."""
        return joint_critic(self.value_coefficient)
