"""The critic's regression after a natural-gradient step: Adam on ½E[(V − target)²]."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from klamp.algorithms.context import Context
from klamp.mathematics import adam
from klamp.mathematics.distributions import kl_divergence
from klamp.mathematics.minibatches import (
    minibatch_rows,
    number_of_rows,
    scan_minibatches,
    take_rows,
)
from klamp.mathematics.objectives import value_loss
from klamp.mathematics.weighting import weighted_mean, weighted_variance
from klamp.networks import ActorCritic, Model
from klamp.networks.flat_model import Section
from klamp.networks.gradient import asked_network, section_gradient
from klamp.networks.per_device import PerDevice
from klamp.trust_region.projection import kl_meter, project
from klamp.types import Batch


def fit(
    context: Context,
    theta: Float[Array, " n"],
    optimizer_state: adam.AdamState,
    batch: Batch,
) -> tuple[Float[Array, " n"], adam.AdamState]:
    """``critic_epochs`` passes of minibatch Adam over the critic's part of θ.

    The policy's own parameters are not touched; with separate networks the policy does not move.
    """

    def loss(critic: ActorCritic | PerDevice, part: Batch) -> Float[Array, ""]:
        return value_loss(critic.value(part.inputs), part.value_target, part.weight)

    model = context.model
    own = theta[model.critic_start :]
    fitted, state = _descend(loss, model.unravel_critic, own, optimizer_state, batch, context)
    return jnp.concatenate([theta[: model.critic_start], fitted]), state


def fit_shared(
    context: Context,
    theta: Float[Array, " n"],
    optimizer_state: adam.AdamState,
    batch: Batch,
    *,
    max_kl: float,
) -> tuple[Float[Array, " n"], adam.AdamState, dict[str, Array]]:
    """Fit a critic whose layers move the policy too, within KL(old‖new) ≤ ``max_kl``.

    All of θ descends ``(V − target)²/Var[target] + KL(stepped‖π_θ)/δ``, where ``stepped`` is the
    policy as it came in: the trunk learns from the value loss, and the policy's head makes up for
    what that does to the policy (as in phasic policy gradient, arXiv:2009.04416, eq. 2). What
    is left is drawn back along the fit until the *exact* mean KL of the whole batch, from the
    policy that collected it, is within the region. A step that came in beyond it (NPG's may) keeps
    its own KL as the bound.
    """
    model = context.model
    stepped = asked_network(model.unravel, theta, context.devices)
    spread = weighted_variance(batch.value_target, batch.weight)
    unit = jnp.where(spread > 0, spread, 1)

    def loss(network: ActorCritic | PerDevice, part: Batch) -> Float[Array, ""]:
        new, value = network.distribution_and_value(part.inputs)
        # On the same rows by the same operations: where θ has not moved the gradient of the KL is
        # 0, and not rounding, of which Adam would make steps of full length.
        old, _ = stepped.distribution_and_value(part.inputs)
        error = 2 * value_loss(value, part.value_target, part.weight) / unit
        return error + weighted_mean(kl_divergence(p=old, q=new), part.weight) / max_kl

    fitted, state = _descend(loss, model.unravel, theta, optimizer_state, batch, context)

    measure = kl_meter(model.distribution, theta, batch, sequence=context.settings.sequence)
    came_in = measure(theta)
    bound = jnp.where(came_in.kl > max_kl, came_in.ceiling, max_kl)
    projection = project(measure, theta, fitted, max_kl=bound)
    return projection.theta, state, {"critic_fit_kept": projection.fraction}


def fit_after_step(
    context: Context,
    theta: Float[Array, " n"],
    optimizer_state: adam.AdamState,
    batch: Batch,
    *,
    max_kl: float,
) -> tuple[Float[Array, " n"], adam.AdamState, dict[str, Array]]:
    """The critic's part of a natural-gradient update; the whole update's KL stays within δ."""
    if batch.value_target is None:
        return theta, optimizer_state, {}
    if context.model.shared:
        return fit_shared(context, theta, optimizer_state, batch, max_kl=max_kl)
    theta, state = fit(context, theta, optimizer_state, batch)
    return theta, state, {}


def initial_moments(model: Model, theta: Float[Array, " n"]) -> adam.AdamState:
    """Adam's moments at zero, for what ``fit_after_step`` moves: with a shared trunk, all of θ."""
    return adam.init(theta if model.shared else theta[model.critic_start :])


def _descend(
    loss: Callable[[ActorCritic | PerDevice, Batch], Float[Array, ""]],
    section: Section,
    start: Float[Array, " m"],
    optimizer_state: adam.AdamState,
    batch: Batch,
    context: Context,
) -> tuple[Float[Array, " m"], adam.AdamState]:
    """``critic_epochs`` passes of minibatch Adam on ``loss`` over the parameters given."""
    settings, total = context.settings, number_of_rows(batch)
    rows = minibatch_rows(
        context.key,
        settings.critic_epochs,
        total,
        settings.critic_minibatch_size,
        sequence=settings.sequence,
        shards=settings.shards,
    )

    def minibatch(carry: tuple[Array, Any], part: Batch) -> tuple[Array, Any]:
        at, state = carry
        gradient = section_gradient(
            lambda network: loss(network, part), section, at, context.devices
        )
        direction, state = adam.update(gradient, state, at)
        return at - settings.critic_learning_rate * direction, state

    def epoch(carry: tuple[Array, Any], chosen: Array) -> tuple[tuple[Array, Any], None]:
        parts = take_rows(batch, chosen, total, shards=settings.shards)
        return scan_minibatches(minibatch, carry, parts), None

    return jax.lax.scan(epoch, (start, optimizer_state), rows)[0]
