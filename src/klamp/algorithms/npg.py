"""The natural policy gradient (Kakade 2001), as arXiv:1502.05477, §6 compares it with TRPO.

TRPO without its line search: the step √(2δ/xᵀ(F + λI)x)·x is taken as it is, with a KL of δ in the
quadratic model and whatever it comes to in truth. Kakade's own step has a fixed size; this length
is the "truncated" form of arXiv:1604.06778. Then the critic is fitted.
"""

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from klamp.algorithms import critic_fit
from klamp.config.algorithms import NPG
from klamp.config.settings import Settings
from klamp.mathematics.minibatches import every_kth
from klamp.mathematics.weighting import scored
from klamp.networks import Model
from klamp.trust_region.rounding import resolution, rounding_of
from klamp.trust_region.step import Outcome, in_units, natural_direction, surrogate_and_kl
from klamp.types import Batch, Policy, Update


def init(config: NPG, model: Model, theta: Float[Array, " n"]) -> Any:
    """The critic's Adam moments at zero; the policy's step has no state."""
    return critic_fit.initial_moments(model, theta)


def update(
    config: NPG,
    settings: Settings,
    model: Model,
    theta: Float[Array, " n"],
    state: Any,
    batch: Batch,
    key: PRNGKeyArray,
    progress: Float[Array, ""],
) -> Update:
    """One natural step of the policy, then the critic's regression."""
    about = every_kth(batch, config.fisher_subsample, sequence=settings.sequence)
    part, outcome, details = natural_step(
        model.policy, theta[: model.policy_end], batch, config, about, settings.sequence
    )
    theta = jnp.concatenate([part, theta[model.policy_end :]])
    theta, state, fit = critic_fit.fit_after_step(
        model, theta, state, batch, key, settings, max_kl=config.max_kl
    )
    return Update(theta, state, outcome, details | fit)


def natural_step(
    policy: Policy,
    theta: Float[Array, " p"],
    batch: Batch,
    config: NPG,
    fisher_batch: Batch | None = None,
    sequence: int | None = None,
) -> tuple[Float[Array, " p"], Array, dict[str, Array]]:
    """θ + √(2δ/xᵀ(F + λI)x)·x, the outcome, and the metrics of the step.

    Where there is no such step, or it leads to NaN or infinity, θ comes back bit-identical and the
    outcome says why.
    """
    clean, unit = in_units(scored(batch))
    max_kl = jnp.asarray(config.max_kl, theta.dtype)
    direction = natural_direction(
        policy,
        theta,
        clean,
        max_kl=max_kl,
        damping=config.damping,
        cg_iterations=config.cg_iterations,
        fisher_batch=fisher_batch,
    )
    moved = theta + direction.step()
    rounding = rounding_of(policy, theta, clean, sequence=sequence)
    there = surrogate_and_kl(policy, theta, clean, rounding)(moved)
    outcome = direction.outcome()
    finite = jnp.all(jnp.isfinite(moved)) & jnp.isfinite(there.gain) & jnp.isfinite(there.kl)
    outcome = jnp.where((outcome == Outcome.ACCEPTED) & ~finite, int(Outcome.NON_FINITE), outcome)
    accepted = outcome == Outcome.ACCEPTED
    details = direction.metrics(jnp.ones_like(max_kl), unit)
    details |= {
        "gain_actual": jnp.where(accepted, there.gain * unit, 0),
        "kl_tried": there.kl,
        "gain_tried": there.gain * unit,
        "step_scale": jnp.where(accepted, details["step_scale"], 0),
        "backtracks": jnp.asarray(0),
        "kl_resolution": resolution(rounding),
    }
    return jnp.where(accepted, moved, theta), outcome, details
