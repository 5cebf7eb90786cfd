"""The settings of the natural policy gradient."""

from dataclasses import dataclass

from klamp.config.algorithms.traits import Traits
from klamp.config.dialects import answering_dialects
from klamp.config.validation import check


@answering_dialects
@dataclass(frozen=True)
class NPG:
    """The natural policy gradient (Kakade 2001), with the step length of TRPO and no search."""

    max_kl: float = 0.01
    """δ: the mean KL(old‖new), in nats, that the quadratic model predicts of a step; not
    checked."""
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

    @property
    def traits(self) -> Traits:
        """One step on the whole batch, then the critic's fit."""
        return Traits(critic="fit", whole_batch=True)
