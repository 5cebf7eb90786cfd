"""The update that TRPO and the natural policy gradient share: a natural step, then the critic.

Batch → GAE → g → conjugate gradient over Fisher-vector products → √(2δ/xᵀ(F + λI)x)·x → search →
the step, or no step at all; then the critic is fitted. The Fisher product uses the whole batch,
where arXiv:1502.05477 takes a tenth of it; ``fisher_subsample`` k takes every k-th row.
"""

from typing import Protocol, runtime_checkable

import jax.numpy as jnp
from jaxtyping import Array, Float

from klamp.algorithms import critic_fit
from klamp.algorithms.context import Context
from klamp.mathematics.minibatches import every_kth
from klamp.trust_region.line_search import Search
from klamp.trust_region.step import trust_region_step
from klamp.types import Batch, PyTree, Update

COMMON = ("outcome", "surrogate_before", "surrogate_after", "kl")
"""What the report of every update has, whatever the algorithm."""


@runtime_checkable
class NaturalStep(Protocol):
    """The fields of an algorithm's config that the step uses."""

    @property
    def max_kl(self) -> float:
        """δ > 0: the step's KL(old‖new), in nats."""
        ...

    @property
    def damping(self) -> float:
        """λ ≥ 0, added to the diagonal of the Fisher matrix."""
        ...

    @property
    def cg_iterations(self) -> int:
        """Steps of conjugate gradient, ≥ 1."""
        ...

    @property
    def fisher_subsample(self) -> int:
        """K ≥ 1: the Fisher matrix sees every k-th row."""
        ...


def natural_update(
    config: NaturalStep,
    context: Context,
    theta: Float[Array, " n"],
    state: PyTree,
    batch: Batch,
    *,
    search: Search,
    step_share: float = 1.0,
) -> Update:
    """A natural step of the policy within ``step_share``·δ, then the critic's regression.

    ``state`` began as ``critic_fit.initial_moments``. With a shared trunk the whole update keeps
    to δ (``critic_fit.fit_shared``).
    """
    model, sequence = context.model, context.settings.sequence
    policy_theta, report = trust_region_step(
        model.policy,
        theta[: model.policy_end],
        batch,
        max_kl=config.max_kl * step_share,
        damping=config.damping,
        cg_iterations=config.cg_iterations,
        search=search,
        sequence=sequence,
        fisher_batch=every_kth(batch, config.fisher_subsample, sequence=sequence),
    )
    theta = jnp.concatenate([policy_theta, theta[model.policy_end :]])
    theta, state, fit = critic_fit.fit_after_step(
        context, theta, state, batch, max_kl=config.max_kl
    )
    details = {name: value for name, value in report._asdict().items() if name not in COMMON}
    return Update(theta, state, report.outcome, details | fit)
