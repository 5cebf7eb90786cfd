"""Trust-region policy optimisation (Schulman et al., arXiv:1502.05477, single path, App. C).

The natural step is shortened until *surrogate improved and mean KL(old‖new) ≤ δ*; where no fraction
of it does, no step is taken.
"""

import jax.numpy as jnp
from jaxtyping import Array, Float

from klamp.algorithms import critic_fit
from klamp.algorithms.context import Context
from klamp.algorithms.natural_step import natural_update
from klamp.config.algorithms import TRPO
from klamp.networks import Model
from klamp.trust_region.line_search import Backtracking
from klamp.types import Batch, PyTree, Update

STEP_SHARE = 0.8
"""With a shared trunk, the part of δ that the policy's step may use: the rest is for what the
critic's fit does to the policy."""


def init(config: TRPO, model: Model, theta: Float[Array, " n"]) -> PyTree:
    """The critic's Adam moments at zero; the policy's step has no state."""
    return critic_fit.initial_moments(model, theta)


def update(
    config: TRPO,
    context: Context,
    theta: Float[Array, " n"],
    state: PyTree,
    batch: Batch,
) -> Update:
    """One trust-region step of the policy, then the critic's regression."""
    return natural_update(
        config,
        context,
        theta,
        state,
        batch,
        search=Backtracking(
            jnp.asarray(config.backtrack_ratio, theta.dtype), config.max_backtracks
        ),
        step_share=STEP_SHARE if context.model.shared else 1.0,
    )
