"""The settings of proximal policy optimisation with the clipped surrogate."""

from dataclasses import dataclass, replace
from typing import Literal

from klamp.config.algorithms.traits import Traits, Unused, joint_critic
from klamp.config.dialects import answering_dialects
from klamp.config.validation import check, require


@answering_dialects
@dataclass(frozen=True)
class PPO:
    """Proximal policy optimisation with the clipped surrogate (arXiv:1707.06347)."""

    clip: float = 0.2
    """ε: no incentive to move the probability ratio beyond 1 ± ε."""
    final_clip: float | None = None
    """ε at the last step, reached linearly; unset: constant."""
    clip_upper: float | None = None
    """ε above 1, where it differs from the one below: clip-higher of arXiv:2503.14476."""
    dual_clip: float | None = None
    """c > 1: the objective of a sample with Â < 0 is at least c·Â (arXiv:1912.09729)."""
    value_clip: float | None = None
    """A value has no gradient once it moved farther than this towards its target."""
    ratio: Literal["token", "sequence"] = "token"
    """What is clipped: the ratio of each sample (of language models, each token), or the geometric
    mean over its sequence (GSPO, arXiv:2507.18071), whose ε is some hundred times smaller."""
    objective: Literal["clip", "cispo"] = "clip"
    """clip: the clipped surrogate; cispo: E[clip(r)·Â·log π] with the clipped ratio a constant
    (arXiv:2506.13585), so that every sample keeps its gradient."""
    epochs: int = 10
    """Passes over each batch."""
    minibatch_size: int = 64
    """Samples in each gradient step; where the batch is below the default, all of it."""
    learning_rate: float = 3e-4
    """Adam's step size."""
    final_learning_rate: float | None = None
    """The step size at the last step, reached linearly; unset: constant."""
    value_learning_rate: float | None = None
    """Adam's step size for the critic's own parameters, where it differs; schedules and adaptation
    scale both alike."""
    adaptive_learning_rate: float | None = None
    """Instead of a schedule: divide the step size by 1.5 after an update whose exact mean
    KL(old‖new) was above twice this, multiply it after one below half; within 1e-5 to 1e-2."""
    entropy_coefficient: float = 0.0
    """Weight of the entropy bonus, per nat."""
    value_coefficient: float = 0.5
    """Weight of the value loss E[(V − target)²] beside the surrogate."""
    max_gradient_norm: float = 0.5
    """The gradient over all parameters together is scaled down to this norm."""
    target_kl: float | None = None
    """Stop the epochs once the exact mean KL(old‖new) of the batch exceeds this, in nats."""
    max_kl: float | None = None
    """Draw the update back until the exact mean KL(old‖new) is at most this, in nats."""

    def __post_init__(self) -> None:
        """Check every field."""
        check(
            self,
            positive=(
                "clip",
                "clip_upper",
                "dual_clip",
                "value_clip",
                "learning_rate",
                "value_learning_rate",
                "adaptive_learning_rate",
                "max_gradient_norm",
                "target_kl",
                "max_kl",
            ),
            not_negative=(
                "final_clip",
                "final_learning_rate",
                "entropy_coefficient",
                "value_coefficient",
            ),
            counts=("epochs", "minibatch_size"),
            choices={"ratio": ("token", "sequence"), "objective": ("clip", "cispo")},
            optional=(
                "final_clip",
                "clip_upper",
                "dual_clip",
                "value_clip",
                "final_learning_rate",
                "value_learning_rate",
                "adaptive_learning_rate",
                "target_kl",
                "max_kl",
            ),
        )
        require(self.dual_clip is None or self.dual_clip > 1, self, "dual_clip", "a number > 1")
        bounded = self.dual_clip is None or self.objective == "clip"
        require(bounded, self, "dual_clip", "unset with the objective cispo")
        one_rule = self.adaptive_learning_rate is None or self.final_learning_rate is None
        require(one_rule, self, "final_learning_rate", "unset with an adaptive_learning_rate")

    @property
    def traits(self) -> Traits:
        """The critic is learned together with the policy."""
        one_epoch = Unused(("target_kl",), "it stops further epochs, and `epochs` is 1")
        unused = (one_epoch,) if self.epochs == 1 else ()
        return replace(joint_critic(self.value_coefficient), unused=unused)
