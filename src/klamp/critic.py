"""The critic's regression after a natural-gradient step: Adam on ½E[(V − target)²]."""

from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, PRNGKeyArray

from klamp.config import Settings
from klamp.minibatches import minibatch_rows, number_of_rows, take_rows
from klamp.networks import Model
from klamp.surrogate import value_loss
from klamp.types import Batch

ADAM_EPSILON = 1e-5
"""As in the implementations that the published results come from, not Adam's own 1e-8."""


def fit(
    model: Model,
    theta: Float[Array, " n"],
    optimizer_state: Any,
    batch: Batch,
    key: PRNGKeyArray,
    settings: Settings,
) -> tuple[Float[Array, " n"], Any]:
    """``critic_epochs`` passes of minibatch Adam over the critic's part of θ.

    The policy's own parameters are not touched; with separate networks the policy does not move.
    """
    optimizer = critic_optimizer()
    total = number_of_rows(batch)
    rows = minibatch_rows(key, settings.critic_epochs, total, settings.critic_minibatch_size)

    def loss(critic: Any, part: Batch) -> Float[Array, ""]:
        return value_loss(critic.value(part.inputs), part.value_target, part.weight)

    def descend(carry: tuple[Array, Any], chosen: Array) -> tuple[tuple[Array, Any], None]:
        part_theta, state = carry
        part = take_rows(batch, chosen, total)
        gradient = ravel_pytree(jax.grad(loss)(model.unravel_critic(part_theta), part))[0]
        update, state = optimizer.update(gradient, state)
        return (part_theta - settings.critic_learning_rate * update, state), None

    start = (theta[model.critic_start :], optimizer_state)
    (fitted, state), _ = jax.lax.scan(descend, start, rows.reshape(-1, rows.shape[-1]))
    return jnp.concatenate([theta[: model.critic_start], fitted]), state


def critic_optimizer() -> optax.GradientTransformation:
    """Adam's direction, without a step size."""
    return optax.scale_by_adam(eps=ADAM_EPSILON)
