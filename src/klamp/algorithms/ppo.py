"""Proximal policy optimisation with the clipped surrogate (Schulman et al., arXiv:1707.06347).

Algorithm 1 with objective eq. 9: K epochs of shuffled minibatches ascend
``L_clip − c₁·(V − target)² + c₂·H``. Advantages are standardised, which the paper leaves to its
code. The clip bounds the *incentive* to leave the region and not the policy: ``max_kl``, which no
paper has, bounds the policy.
"""

from typing import Any, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from klamp.algorithms import minibatch_epochs
from klamp.algorithms.context import Context
from klamp.config.algorithms import PPO
from klamp.mathematics import adam
from klamp.mathematics.objectives import (
    clipped_surrogate,
    clipped_value_loss,
    entropy_bonus,
    importance_ratio,
    joint_loss,
    reference_penalty,
    sequence_ratio,
    truncated_surrogate,
    value_loss,
)
from klamp.mathematics.schedules import scheduled
from klamp.mathematics.weighting import weighted_mean
from klamp.networks import ActorCritic, Model
from klamp.trust_region.projection import Projection, kl_meter, mean_kl, project
from klamp.trust_region.report import Outcome
from klamp.types import Batch, Update

LEARNING_RATES = (1e-5, 1e-2)
"""The bounds of an adaptive learning rate."""


class State(NamedTuple):
    """What PPO carries from update to update."""

    moments: adam.AdamState
    """Adam's."""
    learning_rate: Float[Array, ""] | None
    """The step size where it adapts, else absent."""


def init(config: PPO, model: Model, theta: Float[Array, " n"]) -> State:
    """Adam's moments at zero."""
    adapts = config.adaptive_learning_rate is not None
    learning_rate = jnp.asarray(config.learning_rate, jnp.float32) if adapts else None
    return State(adam.init(theta), learning_rate)


def loss(
    network: ActorCritic,
    batch: Batch,
    old_log_prob: Float[Array, "*B"],
    clip: Float[Array, ""],
    config: PPO,
) -> Float[Array, ""]:
    """−L_clip + c₁·(V − target)² − c₂·H (eq. 9), on the rows given."""
    new, value = network.distribution_and_value(batch.inputs)
    surrogate = policy_surrogate(new.log_prob(batch.action), old_log_prob, batch, clip, config)
    surrogate -= reference_penalty(new, batch.reference, batch.weight)
    if config.value_clip is None:
        half_error = value_loss(value, batch.value_target, batch.weight)
    else:
        half_error = clipped_value_loss(
            value, batch.old_value, batch.value_target, config.value_clip, batch.weight
        )
    return joint_loss(
        surrogate,
        half_error,
        entropy_bonus(new.entropy(), batch.weight),
        value_coefficient=config.value_coefficient,
        entropy_coefficient=config.entropy_coefficient,
    )


def policy_surrogate(
    log_prob: Float[Array, "*B"],
    old_log_prob: Float[Array, "*B"],
    batch: Batch,
    clip: Float[Array, ""],
    config: PPO,
) -> Float[Array, ""]:
    """L_clip (eq. 7), or the objective that ``config`` names instead."""
    ratio = ratios(log_prob, old_log_prob, batch.weight, config)
    if config.objective == "cispo":
        parts = (ratio, log_prob, batch.advantage, clip, batch.weight)
        return truncated_surrogate(*parts, clip_upper=config.clip_upper)
    return clipped_surrogate(
        ratio,
        batch.advantage,
        clip,
        batch.weight,
        clip_upper=config.clip_upper,
        dual_clip=config.dual_clip,
    )


def ratios(
    log_prob: Float[Array, "*B"],
    old_log_prob: Float[Array, "*B"],
    weight: Float[Array, "*B"] | None,
    config: PPO,
) -> Float[Array, "*B"]:
    """The ratio that is clipped: each sample's own, or that of its sequence."""
    if config.ratio == "sequence":
        return sequence_ratio(log_prob, old_log_prob, weight)
    return importance_ratio(log_prob, old_log_prob)


def update(
    config: PPO,
    context: Context,
    theta: Float[Array, " n"],
    state: State,
    batch: Batch,
) -> Update:
    """K epochs over one batch, fewer with ``target_kl``; with ``max_kl``, drawn back into it."""
    model = context.model
    clip = scheduled(config.clip, config.final_clip, context.progress)
    step_size = state.learning_rate
    if step_size is None:
        step_size = scheduled(config.learning_rate, config.final_learning_rate, context.progress)
    new_theta, moments, passes = minibatch_epochs.descend(
        lambda network, part, old_log_prob: loss(network, part, old_log_prob, clip, config),
        config,
        context,
        theta,
        state.moments,
        batch,
        step_size=step_sizes(config, model, theta, step_size),
        stop_kl=config.target_kl,
    )
    details = {"epochs": passes, "learning_rate": step_size, "clip": clip}
    if config.clip_upper is not None:
        details["clip_upper"] = jnp.asarray(config.clip_upper)
    learning_rate = adapt(config, model, new_theta, step_size, batch)
    outcome = jnp.asarray(int(Outcome.ACCEPTED))
    if config.max_kl is not None:
        projection = draw_back(context, theta, new_theta, batch, max_kl=config.max_kl)
        new_theta = projection.theta
        drawn = projection.fraction < 1
        outcome = jnp.where(drawn, int(Outcome.PROJECTED), outcome)
        details |= {
            "projection": projection.fraction,
            "kl_before_projection": projection.kl,
            "kl_resolution": projection.resolution,
        }
    if config.ratio == "sequence":
        details["clip_fraction"] = clipped_share(config, model, new_theta, batch, clip)
    return Update(new_theta, State(moments, learning_rate), outcome, details)


def clipped_share(
    config: PPO, model: Model, theta: Float[Array, " n"], batch: Batch, clip: Float[Array, ""]
) -> Float[Array, ""]:
    """The share of samples whose sequence's ratio is outside 1 − ε … 1 + ε."""
    log_prob = model.distribution(theta, batch.inputs).log_prob(batch.action)
    ratio = ratios(log_prob, batch.old_policy().log_prob(batch.action), batch.weight, config)
    upper = clip if config.clip_upper is None else config.clip_upper
    outside = (ratio < 1 - clip) | (ratio > 1 + upper)
    return weighted_mean(outside.astype(ratio.dtype), batch.weight)


def step_sizes(
    config: PPO, model: Model, theta: Float[Array, " n"], step_size: Float[Array, ""]
) -> Float[Array, ""] | Float[Array, " n"]:
    """One number, or one for each parameter where the critic's own have another step size."""
    if config.value_learning_rate is None:
        return step_size
    of_critic = step_size * (config.value_learning_rate / config.learning_rate)
    return jnp.where(jnp.arange(theta.size) < model.policy_end, step_size, of_critic)


def adapt(
    config: PPO,
    model: Model,
    theta: Float[Array, " n"],
    step_size: Float[Array, ""],
    batch: Batch,
) -> Float[Array, ""] | None:
    """The next step size, after an update that led to ``theta``; None where it does not adapt.

    The rule of `rsl_rl`, on the exact mean KL(old‖new) of the whole batch once per update, where
    that code takes each minibatch's. It measures the policy after the epochs, before ``max_kl``
    draws it back.
    """
    target = config.adaptive_learning_rate
    if target is None:
        return None
    kl = mean_kl(model.distribution, theta, batch)
    factor = jnp.where(kl > 2 * target, 1 / 1.5, jnp.where(kl < target / 2, 1.5, 1.0))
    return jnp.where(factor == 1, step_size, jnp.clip(step_size * factor, *LEARNING_RATES))


def draw_back(
    context: Context,
    theta: Float[Array, " n"],
    new_theta: Float[Array, " n"],
    batch: Batch,
    *,
    max_kl: float,
) -> Projection:
    """``new_theta`` within mean KL(old‖new) ≤ ``max_kl``, drawn back towards ``theta``.

    With separate networks the critic keeps its update. With a shared trunk all of θ is drawn back:
    the trunk cannot move without the policy, and the critic's own layers are fitted to the trunk.
    """
    model = context.model
    end = theta.size if model.shared else model.policy_end
    rest = new_theta[end:]

    def whole(part: Float[Array, " p"]) -> Float[Array, " n"]:
        return jnp.concatenate([part, rest])

    def policy(part: Float[Array, " p"], inputs: Any) -> Any:
        return model.distribution(whole(part), inputs)

    start = theta[:end]
    measure = kl_meter(policy, start, batch, sequence=context.settings.sequence)
    projection = project(measure, start, new_theta[:end], max_kl=max_kl)
    return projection._replace(theta=whole(projection.theta))
