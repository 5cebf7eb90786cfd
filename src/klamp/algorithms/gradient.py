"""The gradient of a loss, shared by every algorithm that descends one."""

from collections.abc import Callable
from typing import Any

from jaxtyping import Array, Float

from klamp.networks import Model
from klamp.products import network_gradient


def flat_gradient(
    loss: Callable[..., Float[Array, ""]], model: Model, theta: Float[Array, " n"], *rest: Any
) -> Float[Array, " n"]:
    """∇_θ loss(network, *rest), as a flat vector like θ.

    See ``network_gradient``.
    """
    return network_gradient(lambda network: loss(network, *rest), model.unravel(theta))
