"""The settings of each algorithm's update alone: frozen dataclasses, checked when made."""

from dataclasses import dataclass
from typing import Any, Literal

from klamp.config.validation import check, is_integer, require

Baseline = Literal["none", "batch-mean", "value"]


@dataclass(frozen=True)
class REINFORCE:
    """The policy gradient with Monte-Carlo returns: ∇ log π·R (Williams 1992)."""

    baseline: Baseline = "value"
    """What the return is compared with: nothing, its mean over the batch, or a learned V."""
    learning_rate: float = 1e-2
    """Adam's step size; one step a batch."""
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
    def estimates(self) -> dict[str, Any]:
        """The settings of advantage and target that the baseline stands for.

        Without V the return is left as it is: to standardise it would subtract a baseline.
        """
        if self.baseline == "value":
            return {"advantage_estimator": "monte-carlo", "value_target": "monte-carlo"}
        return {"advantage_estimator": "return", "advantage_normalization": "off"}


@dataclass(frozen=True)
class A2C:
    """Advantage actor-critic: one joint gradient step a batch (arXiv:1602.01783)."""

    learning_rate: float = 1e-3
    """Adam's step size; one step a batch."""
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


@dataclass(frozen=True)
class PPO:
    """Proximal policy optimisation with the clipped surrogate (arXiv:1707.06347)."""

    clip: float = 0.2
    """ε: no incentive to move the probability ratio beyond 1 ± ε."""
    final_clip: float | None = None
    """ε at the last step, reached linearly; unset: constant."""
    clip_upper: float | None = None
    """ε above 1, where it shall differ from the one below: clip-higher of arXiv:2503.14476."""
    dual_clip: float | None = None
    """c > 1: no sample with Â < 0 counts for less than c·Â (arXiv:1912.09729)."""
    value_clip: float | None = None
    """The critic gains nothing by moving farther than this from its value before the update."""
    epochs: int = 10
    """Passes over each batch."""
    minibatch_size: int = 64
    """Samples in each gradient step; where the batch is below the default, all of it."""
    learning_rate: float = 3e-4
    """Adam's step size."""
    final_learning_rate: float | None = None
    """The step size at the last step, reached linearly; unset: constant."""
    value_learning_rate: float | None = None
    """Adam's step size for what belongs to the critic alone, where it shall differ; what changes
    the step size during the run changes both alike."""
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
        one_rule = self.adaptive_learning_rate is None or self.final_learning_rate is None
        require(one_rule, self, "final_learning_rate", "unset with an adaptive_learning_rate")


@dataclass(frozen=True)
class PPOPenalty:
    """Proximal policy optimisation with a KL penalty (arXiv:1707.06347, §4)."""

    kl_coefficient: float = 1.0
    """β, the price of a nat of KL(old‖new); where it adapts, the first one."""
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


@dataclass(frozen=True)
class NPG:
    """The natural policy gradient (Kakade 2001), with the step length of TRPO and no search."""

    max_kl: float = 0.01
    """δ: the mean KL(old‖new) that the quadratic model predicts of a step; nothing checks it."""
    damping: float = 0.1
    """λ, added to the diagonal of the Fisher matrix."""
    cg_iterations: int = 10
    """Steps of conjugate gradient; each costs one Fisher-vector product."""
    fisher_subsample: int = 1
    """k: the Fisher matrix sees every k-th transition; gradient, KL and line search see all."""

    def __post_init__(self) -> None:
        """Check every field."""
        check(
            self,
            positive=("max_kl",),
            not_negative=("damping",),
            counts=("cg_iterations", "fisher_subsample"),
        )


@dataclass(frozen=True)
class TRPO:
    """Trust-region policy optimisation (arXiv:1502.05477)."""

    max_kl: float = 0.01
    """δ: bound on the mean over states of KL(old‖new), in nats, summed over action dimensions."""
    damping: float = 0.1
    """λ, added to the diagonal of the Fisher matrix."""
    cg_iterations: int = 10
    """Steps of conjugate gradient; each costs one Fisher-vector product."""
    fisher_subsample: int = 1
    """k: the Fisher matrix sees every k-th transition; gradient, KL and line search see all."""
    backtrack_ratio: float = 0.8
    """Factor by which the line search shortens the step."""
    max_backtracks: int = 10
    """Reductions of the step before the update is refused."""

    def __post_init__(self) -> None:
        """Check every field."""
        check(
            self,
            positive=("max_kl", "backtrack_ratio"),
            not_negative=("damping",),
            counts=("cg_iterations", "fisher_subsample"),
        )
        require(self.backtrack_ratio < 1, self, "backtrack_ratio", "a number above 0 and below 1")
        require(is_integer(self.max_backtracks, 0), self, "max_backtracks", "an integer ≥ 0")


AlgorithmConfig = REINFORCE | A2C | NPG | TRPO | PPO | PPOPenalty

ALGORITHMS: dict[str, type[Any]] = {
    "reinforce": REINFORCE,
    "a2c": A2C,
    "npg": NPG,
    "trpo": TRPO,
    "ppo": PPO,
    "ppo-kl": PPOPenalty,
}
"""The algorithms by the name that `--algo` and `config.json` use."""


def algorithm_name(algorithm: AlgorithmConfig) -> str:
    """The name of an algorithm's config, as `--algo` takes it."""
    return next(name for name, kind in ALGORITHMS.items() if type(algorithm) is kind)


def final_values(algorithm: AlgorithmConfig) -> dict[str, float]:
    """What is scheduled over the run, by the name of what it changes, and where it ends."""
    ends: dict[str, float | None] = {}
    if isinstance(algorithm, A2C | PPO | PPOPenalty):
        ends["learning_rate"] = algorithm.final_learning_rate
    if isinstance(algorithm, PPO):
        ends["clip"] = algorithm.final_clip
    return {name: end for name, end in ends.items() if end is not None}
