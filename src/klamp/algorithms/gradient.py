"""First-order ascent, shared by every algorithm that descends a loss with Adam."""

from collections.abc import Callable
from typing import Any

import optax
from jaxtyping import Array, Float

from klamp.critic import ADAM_EPSILON
from klamp.networks import Model
from klamp.products import network_gradient


def adam(max_gradient_norm: float) -> optax.GradientTransformation:
    """Adam's direction for the norm-clipped gradient, without a step size."""
    return optax.chain(
        optax.clip_by_global_norm(max_gradient_norm), optax.scale_by_adam(eps=ADAM_EPSILON)
    )


def adam_direction(
    gradient: Float[Array, " n"], moments: Any, max_gradient_norm: float
) -> tuple[Float[Array, " n"], Any]:
    """What to descend along by a step size, and the moments after."""
    direction: Any
    direction, moments = adam(max_gradient_norm).update(gradient, moments)
    return direction, moments


def flat_gradient(
    loss: Callable[..., Float[Array, ""]], model: Model, theta: Float[Array, " n"], *rest: Any
) -> Float[Array, " n"]:
    """∇_θ loss(network, *rest), as a flat vector like θ.

    See ``network_gradient``.
    """
    return network_gradient(lambda network: loss(network, *rest), model.unravel(theta))
