"""Epochs of shuffled minibatches over one batch: what PPO with a clip and with a penalty share.

Algorithm 1 of arXiv:1707.06347, without its objective: K epochs of minibatch Adam on a loss over
policy and critic together. Adam's ε of 1e-5 and the clipping of the gradient's norm over all
parameters are not in the paper; they are taken from its code.
"""

from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from klamp.algorithms.context import Context
from klamp.mathematics import adam
from klamp.mathematics.advantages import standardize
from klamp.mathematics.minibatches import (
    chosen,
    minibatch_rows,
    number_of_rows,
    scan_minibatches,
    take_rows,
)
from klamp.networks import ActorCritic
from klamp.networks.gradient import flat_gradient
from klamp.trust_region.projection import mean_kl
from klamp.types import Batch, PyTree

Loss = Callable[[ActorCritic, Batch, Float[Array, "*B"]], Float[Array, ""]]
"""(network, rows, log π_old of their actions) → what the minibatches descend."""


@runtime_checkable
class Epochs(Protocol):
    """The fields of an algorithm's config that the epochs use."""

    @property
    def epochs(self) -> int:
        """Passes over each batch, ≥ 1."""
        ...

    @property
    def minibatch_size(self) -> int:
        """Rows in each gradient step, ≥ 1."""
        ...

    @property
    def max_gradient_norm(self) -> float:
        """The gradient over all parameters together is scaled down to this norm, > 0."""
        ...


def descend(
    loss: Loss,
    config: Epochs,
    context: Context,
    theta: Float[Array, " n"],
    moments: PyTree,
    batch: Batch,
    *,
    step_size: float | Float[Array, ""] | Float[Array, " n"],
    stop_kl: float | None = None,
    optimizer: adam.Optimizer = adam,
) -> tuple[Float[Array, " n"], PyTree, Int[Array, ""]]:
    """θ and the optimiser's moments after the epochs, and the number of epochs made.

    ``moments`` began as ``optimizer.init(theta)``. ``step_size`` is one number, or one for each
    parameter. After an epoch that left the exact mean KL(old‖new) of the batch above ``stop_kl``
    (nats) no other follows.
    """
    model, settings = context.model, context.settings
    total = number_of_rows(batch)
    rows = minibatch_rows(
        context.key,
        config.epochs,
        total,
        config.minibatch_size,
        sequence=settings.sequence,
        shards=settings.shards,
    )
    old_log_prob = batch.old_policy().log_prob(batch.action)

    def minibatch(carry: tuple[Array, Any], drawn: tuple[Batch, Array]) -> tuple[Array, Any]:
        (theta, moments), (part, old) = carry, drawn
        gradient = flat_gradient(loss, model, theta, part, old, devices=context.devices)
        gradient = adam.clip_norm(gradient, config.max_gradient_norm)
        direction, moments = optimizer.update(gradient, moments, theta)
        return theta - step_size * direction, moments

    def exceeded(theta: Array) -> Bool[Array, ""]:
        if stop_kl is None:
            return jnp.asarray(False)
        return mean_kl(model.distribution, theta, batch) > stop_kl

    def unfinished(carry: tuple[Int[Array, ""], Array, Any, Array]) -> Bool[Array, ""]:
        return (carry[0] < config.epochs) & ~carry[3]

    def epoch(carry: tuple[Int[Array, ""], Array, Any, Array]) -> Any:
        done, theta, moments, _ = carry
        # Drawn and standardised all at once: many small calls in the loop cost more than the rows.
        parts = take_rows(batch, rows[done], total, shards=settings.shards)
        if settings.advantage_normalization == "minibatch":
            parts = parts._replace(advantage=jax.vmap(standardize)(parts.advantage, parts.weight))
        drawn = (parts, chosen(old_log_prob, rows[done], shards=settings.shards))
        theta, moments = scan_minibatches(minibatch, (theta, moments), drawn)
        return done + 1, theta, moments, exceeded(theta)

    start = (jnp.asarray(0), theta, moments, jnp.asarray(False))
    epochs, theta, moments, _ = jax.lax.while_loop(unfinished, epoch, start)
    return theta, moments, epochs
