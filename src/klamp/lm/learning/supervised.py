"""A supervised start: the policy learns to write what was demonstrated, before it is rewarded."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, PRNGKeyArray

from klamp.config.validation import Count, Positive, check_fields
from klamp.lm.networks.decoder import Decoder
from klamp.lm.tokens.sequences import Completions
from klamp.mathematics import adam
from klamp.mathematics.distributions.categorical import Categorical
from klamp.mathematics.weighting import weighted_mean


@dataclass(frozen=True)
class WarmStart:
    """How long, and on how much, a policy is trained on demonstrations."""

    steps: Count = 60
    batch: Count = 256
    """Demonstrations in each step, all of them new."""
    learning_rate: Positive = 3e-3
    """Adam's step size at first; it falls to 0 along a line."""

    def __post_init__(self) -> None:
        check_fields(self, WarmStart)


def cross_entropy_loss(decoder: Decoder, completions: Completions) -> Float[Array, ""]:
    """−E[log π(action)] in nats, the mean over all action tokens."""
    seen = (completions.tokens, completions.valid, completions.positions)
    logits = decoder.features_at(*seen) @ decoder.head.T
    log_prob = Categorical(logits).log_prob(completions.action)
    return -weighted_mean(log_prob, completions.weight)


def minimised(
    model: Any,
    loss: Callable[[Any, Any], Array],
    batch_of: Callable[[Array], Any],
    start: WarmStart,
) -> tuple[Any, Float[Array, " steps"]]:
    """The model after so many steps of Adam on ``loss(model, batch_of(step))``, and each loss.

    Every floating-point array of the model is trained.
    """
    arrays, rest = eqx.partition(model, eqx.is_inexact_array)
    theta, unravel = ravel_pytree(arrays)

    def step(carry: tuple[Array, adam.AdamState], number: Array) -> tuple[Any, Array]:
        theta, state = carry

        def of(theta: Array) -> Array:
            return loss(eqx.combine(unravel(theta), rest), batch_of(number))

        value, gradient = jax.value_and_grad(of)(theta)
        direction, state = adam.update(adam.clip_norm(gradient, 1.0), state)
        rate = start.learning_rate * (1 - number / start.steps)
        return (theta - rate * direction, state), value

    (theta, _), losses = jax.lax.scan(step, (theta, adam.init(theta)), jnp.arange(start.steps))
    return eqx.combine(unravel(theta), rest), losses


@eqx.filter_jit
def warm_started(
    decoder: Decoder,
    demonstrations: Callable[[Array, PRNGKeyArray], Completions],
    start: WarmStart,
    key: PRNGKeyArray,
) -> tuple[Decoder, Float[Array, " steps"]]:
    """The decoder after cross entropy on demonstrations, and the loss of each step.

    ``demonstrations(numbers, key)`` gives those with these numbers; none is shown twice.
    """

    def batch_of(step: Array) -> Completions:
        return demonstrations(step * start.batch + jnp.arange(start.batch), key)

    return minimised(decoder, cross_entropy_loss, batch_of, start)
