"""Proximal policy optimisation with a KL penalty, fixed or adaptive (arXiv:1707.06347, §4).

K epochs of shuffled minibatches ascend ``E[r·Â − β·KL(old‖new)] − c₁·(V − target)² + c₂·H``
(eq. 8), with the exact KL of each state. Once per update, β is doubled or halved by the exact mean
KL(old‖new) of the whole batch. It stays within 1e-6 and 1e6, which the paper does not say: beyond
them a hundred updates of the other kind would be needed before it had any effect again.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from klamp.algorithms import minibatch_epochs
from klamp.algorithms.context import Context
from klamp.config.algorithms import PPOPenalty
from klamp.mathematics import adam
from klamp.mathematics.distributions import kl_divergence
from klamp.mathematics.objectives import (
    entropy_bonus,
    importance_ratio,
    joint_loss,
    penalized_surrogate,
    reference_penalty,
    value_loss,
)
from klamp.mathematics.schedules import scheduled
from klamp.networks import ActorCritic, Model
from klamp.trust_region.projection import mean_kl
from klamp.trust_region.report import Outcome
from klamp.types import Batch, Update

COEFFICIENTS = (1e-6, 1e6)
"""The bounds of an adaptive β."""


class State(NamedTuple):
    """What PPO with a penalty carries from update to update."""

    moments: adam.AdamState
    """Adam's."""
    kl_coefficient: Float[Array, ""]
    """β of the next update."""


def init(config: PPOPenalty, model: Model, theta: Float[Array, " n"]) -> State:
    """Adam's moments at zero, β at its first value."""
    moments = adam.init(theta)
    return State(moments, jnp.asarray(config.kl_coefficient, jnp.float32))


def loss(
    network: ActorCritic,
    batch: Batch,
    old_log_prob: Float[Array, "*B"],
    kl_coefficient: Float[Array, ""],
    config: PPOPenalty,
) -> Float[Array, ""]:
    """−E[r·Â − β·KL(old‖new)] + c₁·(V − target)² − c₂·H, on the rows given."""
    new, value = network.distribution_and_value(batch.inputs)
    surrogate = penalized_surrogate(
        importance_ratio(new.log_prob(batch.action), old_log_prob),
        batch.advantage,
        kl_divergence(p=batch.old_policy(), q=new),
        kl_coefficient,
        batch.weight,
    )
    surrogate -= reference_penalty(new, batch.reference, batch.weight)
    return joint_loss(
        surrogate,
        value_loss(value, batch.value_target, batch.weight),
        entropy_bonus(new.entropy(), batch.weight),
        value_coefficient=config.value_coefficient,
        entropy_coefficient=config.entropy_coefficient,
    )


def update(
    config: PPOPenalty,
    context: Context,
    theta: Float[Array, " n"],
    state: State,
    batch: Batch,
) -> Update:
    """K epochs over one batch, then the next β."""
    step_size = scheduled(config.learning_rate, config.final_learning_rate, context.progress)
    beta = state.kl_coefficient
    theta, moments, _ = minibatch_epochs.descend(
        lambda network, part, old_log_prob: loss(network, part, old_log_prob, beta, config),
        config,
        context,
        theta,
        state.moments,
        batch,
        step_size=step_size,
    )
    next_beta = beta
    if config.target_kl is not None:
        kl = mean_kl(context.model.distribution, theta, batch)
        next_beta = adapted(beta, kl, config.target_kl)
    details = {"kl_coefficient": beta, "learning_rate": step_size}
    outcome = jnp.asarray(int(Outcome.ACCEPTED))
    return Update(theta, State(moments, next_beta), outcome, details)


def adapted(
    kl_coefficient: Float[Array, ""], kl: Float[Array, ""], target_kl: float
) -> Float[Array, ""]:
    """β/2 where d < d_targ/1.5, β·2 where d > 1.5·d_targ, else β (§4)."""
    grown = jnp.where(kl > 1.5 * target_kl, 2 * kl_coefficient, kl_coefficient)
    moved = jnp.where(kl < target_kl / 1.5, kl_coefficient / 2, grown)
    return jnp.where(moved == kl_coefficient, moved, jnp.clip(moved, *COEFFICIENTS))
