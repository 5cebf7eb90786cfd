"""Gradients of a network in one flat vector, in the order that a CPU multiplies fastest."""

from collections.abc import Callable
from typing import Any

import jax
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float

from klamp.networks import Model
from klamp.networks.flat_model import Section
from klamp.networks.per_device import gradient_per_device, per_device
from klamp.runtime.cpu_matmul import rows_first


def flat_gradient(
    loss: Callable[..., Float[Array, ""]],
    model: Model,
    theta: Float[Array, " n"],
    *rest: Any,
    devices: int = 1,
) -> Float[Array, " n"]:
    """∇_θ loss(network, *rest), as a flat vector like θ.

    See ``section_gradient``.
    """
    return section_gradient(lambda network: loss(network, *rest), model.unravel, theta, devices)


def asked_network(section: Section, flat: Float[Array, " m"], devices: int = 1) -> Any:
    """The network as the loss of ``section_gradient`` sees it: it answers by the same operations.

    ``devices`` hold the rows that it is asked about, in equal parts.
    """
    parameters = section.parameters(flat)
    if devices > 1:
        return per_device(section, parameters, devices)
    return section.network(parameters)


def section_gradient(
    loss: Callable[[Any], Float[Array, ""]],
    section: Section,
    flat: Float[Array, " m"],
    devices: int = 1,
) -> Float[Array, " m"]:
    """∇ of ``loss(network)`` in a section's own part of θ; what is frozen has no gradient.

    ``devices`` hold the rows that ``loss`` asks the network about, in equal parts.

    The gradient is taken in the module and ravelled after: slicing a flat vector inside would
    make each layer's share a padded vector of full length.
    """
    if devices > 1:
        return gradient_per_device(loss, section, flat, devices)
    gradient = jax.grad(lambda parameters: loss(section.network(parameters)))
    return ravel_pytree(rows_first(gradient)(section.parameters(flat)))[0]
