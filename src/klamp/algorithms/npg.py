"""The natural policy gradient (Kakade 2001), as arXiv:1502.05477, §6 compares it with TRPO.

TRPO without its line search: the step √(2δ/xᵀ(F + λI)x)·x is taken as it is, with a KL of δ in the
quadratic model; its true KL is not checked. Kakade's own step has a fixed size; this length is the
"truncated" form of arXiv:1604.06778. Where there is no such step, or it leads to NaN or infinity,
the policy stays bit-identical. Then the critic is fitted.
"""

from jaxtyping import Array, Float

from klamp.algorithms import critic_fit
from klamp.algorithms.context import Context
from klamp.algorithms.natural_step import natural_update
from klamp.config.algorithms import NPG
from klamp.networks import Model
from klamp.trust_region.line_search import FullStep
from klamp.types import Batch, PyTree, Update


def init(config: NPG, model: Model, theta: Float[Array, " n"]) -> PyTree:
    """The critic's Adam moments at zero; the policy's step has no state."""
    return critic_fit.initial_moments(model, theta)


def update(
    config: NPG,
    context: Context,
    theta: Float[Array, " n"],
    state: PyTree,
    batch: Batch,
) -> Update:
    """One natural step of the policy, then the critic's regression."""
    return natural_update(config, context, theta, state, batch, search=FullStep())
