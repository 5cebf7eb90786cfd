"""The settings of trust-region policy optimisation."""

from dataclasses import dataclass

from klamp.config.algorithms.traits import Traits, Unused
from klamp.config.dialects import answering_dialects
from klamp.config.validation import check, is_integer, require


@answering_dialects
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

    @property
    def traits(self) -> Traits:
        """One step on the whole batch, then the critic's fit."""
        no_search = Unused(("backtrack_ratio",), "with `max_backtracks` 0 no step is shortened")
        unused = () if self.max_backtracks else (no_search,)
        return Traits(critic="fit", whole_batch=True, unused=unused)
