"""Proximal policy optimisation with the clipped surrogate (Schulman et al., arXiv:1707.06347).

Algorithm 1 with objective eq. 9: K epochs of shuffled minibatches ascend
``L_clip − c₁·(V − target)² + c₂·H``. Adam with ε = 1e-5, the gradient's norm over all parameters
clipped, advantages standardised; the paper leaves these to its code.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from klamp.advantages import standardize
from klamp.config import PPO, Settings
from klamp.critic import ADAM_EPSILON
from klamp.distributions import kl_divergence
from klamp.minibatches import minibatch_rows, number_of_rows, take_rows
from klamp.networks import ActorCritic, Model
from klamp.schedules import scheduled
from klamp.surrogate import clipped_surrogate, entropy_bonus, importance_ratio, value_loss
from klamp.trust_region.step import Outcome
from klamp.types import Batch, Update
from klamp.weighting import weighted_mean


def optimizer(config: PPO) -> optax.GradientTransformation:
    """Adam's direction for the norm-clipped gradient, without a step size."""
    return optax.chain(
        optax.clip_by_global_norm(config.max_gradient_norm),
        optax.scale_by_adam(eps=ADAM_EPSILON),
    )


def init(config: PPO, model: Model, theta: Float[Array, " n"]) -> Any:
    """Adam's moments at zero."""
    return optimizer(config).init(theta)


def loss(
    network: ActorCritic,
    batch: Batch,
    old_log_prob: Float[Array, " B"],
    clip: Float[Array, ""],
    config: PPO,
) -> Float[Array, ""]:
    """−L_clip + c₁·(V − target)² − c₂·H (eq. 9), on the rows given."""
    new, value = network.distribution_and_value(batch.inputs)
    ratio = importance_ratio(new.log_prob(batch.action), old_log_prob)
    surrogate = clipped_surrogate(ratio, batch.advantage, clip, batch.weight)
    # value_loss carries the ½ that eq. 9 does not.
    error = 2 * value_loss(value, batch.value_target, batch.weight)
    entropy = entropy_bonus(new.entropy(), batch.weight)
    return -surrogate + config.value_coefficient * error - config.entropy_coefficient * entropy


def update(
    config: PPO,
    settings: Settings,
    model: Model,
    theta: Float[Array, " n"],
    state: Any,
    batch: Batch,
    key: PRNGKeyArray,
    progress: Float[Array, ""],
) -> Update:
    """K epochs over one batch; with ``target_kl``, fewer once the policy has moved that far."""
    adam = optimizer(config)
    clip = scheduled(config.clip, config.final_clip, progress)
    step_size = scheduled(config.learning_rate, config.final_learning_rate, progress)
    total = number_of_rows(batch)
    rows = minibatch_rows(key, config.epochs, total, config.minibatch_size)
    table = (batch, batch.old.log_prob(batch.action))

    def minibatch(carry: tuple[Array, Any], chosen: Array) -> tuple[tuple[Array, Any], None]:
        theta, state = carry
        part = take_rows(batch._replace(old=None), chosen, total)
        if settings.advantage_normalization == "minibatch":
            part = part._replace(advantage=standardize(part.advantage, part.weight))
        old_log_prob = table[1][chosen]
        # The gradient is taken in the module and ravelled after: slicing θ inside would make each
        # layer's share a padded vector of full length.
        network = model.unravel(theta)
        gradient = ravel_pytree(eqx.filter_grad(loss)(network, part, old_log_prob, clip, config))[0]
        ascent, state = adam.update(gradient, state)
        return (theta - step_size * ascent, state), None

    def exceeded(theta: Array) -> Bool[Array, ""]:
        if config.target_kl is None:
            return jnp.asarray(False)
        new = model.distribution(theta, batch.inputs)
        kl = weighted_mean(kl_divergence(p=batch.old, q=new), batch.weight)
        return kl > config.target_kl

    def unfinished(carry: tuple[Int[Array, ""], Array, Any, Array]) -> Bool[Array, ""]:
        return (carry[0] < config.epochs) & ~carry[3]

    def epoch(carry: tuple[Int[Array, ""], Array, Any, Array]) -> Any:
        done, theta, state, _ = carry
        (theta, state), _ = jax.lax.scan(minibatch, (theta, state), rows[done])
        return done + 1, theta, state, exceeded(theta)

    start = (jnp.asarray(0), theta, state, jnp.asarray(False))
    epochs, theta, state, _ = jax.lax.while_loop(unfinished, epoch, start)
    details = {"epochs": epochs, "learning_rate": step_size, "clip": clip}
    return Update(theta, state, jnp.asarray(int(Outcome.ACCEPTED)), details)
