"""Trust-region policy optimisation (Schulman et al., arXiv:1502.05477, single path, App. C).

Batch → GAE → g → conjugate gradient over Fisher-vector products → √(2δ/xᵀ(F + λI)x)·x → line
search under *surrogate improved and mean KL(old‖new) ≤ δ* → the step, or no step at all; then the
critic is fitted. The Fisher product uses the whole batch, where the paper takes a tenth of it;
``fisher_subsample`` k takes every k-th transition.
"""

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from klamp.algorithms import critic_fit
from klamp.config.algorithms import TRPO
from klamp.config.settings import Settings
from klamp.mathematics.minibatches import every_kth
from klamp.networks import Model
from klamp.trust_region.step import trust_region_step
from klamp.types import Batch, Update

STEP_SHARE = 0.8
"""With a shared trunk, the part of δ that the policy's step may use: the rest is for what the
critic's fit does to the policy."""


def init(config: TRPO, model: Model, theta: Float[Array, " n"]) -> Any:
    """The critic's Adam moments at zero; the policy's step has no state."""
    return critic_fit.initial_moments(model, theta)


def update(
    config: TRPO,
    settings: Settings,
    model: Model,
    theta: Float[Array, " n"],
    state: Any,
    batch: Batch,
    key: PRNGKeyArray,
    progress: Float[Array, ""],
) -> Update:
    """One trust-region step of the policy, then the critic's regression."""
    policy_theta, report = trust_region_step(
        model.policy,
        theta[: model.policy_end],
        batch,
        max_kl=config.max_kl * (STEP_SHARE if model.shared else 1.0),
        damping=config.damping,
        cg_iterations=config.cg_iterations,
        backtrack_ratio=config.backtrack_ratio,
        max_backtracks=config.max_backtracks,
        sequence=settings.sequence,
        fisher_batch=every_kth(batch, config.fisher_subsample, sequence=settings.sequence),
    )
    theta = jnp.concatenate([policy_theta, theta[model.policy_end :]])
    theta, state, fit = critic_fit.fit_after_step(
        model, theta, state, batch, key, settings, max_kl=config.max_kl
    )
    details = report._asdict()
    for common in ("outcome", "surrogate_before", "surrogate_after", "kl"):
        del details[common]
    return Update(theta, state, report.outcome, details | fit)
