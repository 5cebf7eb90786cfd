"""Advantage actor-critic (Mnih et al., arXiv:1602.01783, Algorithm S3, in its synchronous form).

One gradient step per batch on ``E[log π·Â] − c₁·(V − target)² + c₂·H``, policy and critic together.
The advantage is the run's own estimator (GAE by default), where the paper has n-step returns, which
``trace_decay`` = 1 gives; Adam takes the place of its shared RMSProp.
"""

import jax.numpy as jnp
from jaxtyping import Array, Float

from klamp.algorithms.context import Context
from klamp.config.algorithms import A2C
from klamp.mathematics import adam
from klamp.mathematics.advantages import standardize
from klamp.mathematics.objectives import (
    entropy_bonus,
    joint_loss,
    log_prob_surrogate,
    reference_penalty,
    value_loss,
)
from klamp.mathematics.schedules import scheduled
from klamp.networks import ActorCritic, Model
from klamp.networks.gradient import flat_gradient
from klamp.trust_region.report import Outcome
from klamp.types import Batch, PyTree, Update


def init(config: A2C, model: Model, theta: Float[Array, " n"]) -> PyTree:
    """Adam's moments at zero."""
    return adam.init(theta)


def loss(network: ActorCritic, batch: Batch, config: A2C) -> Float[Array, ""]:
    """−E[log π·Â] + c₁·(V − target)² − c₂·H."""
    new, value = network.distribution_and_value(batch.inputs)
    surrogate = log_prob_surrogate(new.log_prob(batch.action), batch.advantage, batch.weight)
    surrogate -= reference_penalty(new, batch.reference, batch.weight)
    return joint_loss(
        surrogate,
        value_loss(value, batch.value_target, batch.weight),
        entropy_bonus(new.entropy(), batch.weight),
        value_coefficient=config.value_coefficient,
        entropy_coefficient=config.entropy_coefficient,
    )


def update(
    config: A2C,
    context: Context,
    theta: Float[Array, " n"],
    state: PyTree,
    batch: Batch,
) -> Update:
    """One step of Adam on the whole batch."""
    step_size = scheduled(config.learning_rate, config.final_learning_rate, context.progress)
    if context.settings.advantage_normalization == "minibatch":
        # The batch is the only minibatch.
        batch = batch._replace(advantage=standardize(batch.advantage, batch.weight))
    gradient = flat_gradient(loss, context.model, theta, batch, config, devices=context.devices)
    clipped = adam.clip_norm(gradient, config.max_gradient_norm)
    direction, state = adam.update(clipped, state, theta)
    details = {"gradient_norm": jnp.linalg.norm(gradient), "learning_rate": step_size}
    outcome = jnp.asarray(int(Outcome.ACCEPTED))
    return Update(theta - step_size * direction, state, outcome, details)
