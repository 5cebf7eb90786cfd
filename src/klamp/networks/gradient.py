"""Gradients of a network in one flat vector, in the order that a CPU multiplies fastest."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float

from klamp.networks import Model
from klamp.runtime.cpu_matmul import rows_first


def flat_gradient(
    loss: Callable[..., Float[Array, ""]], model: Model, theta: Float[Array, " n"], *rest: Any
) -> Float[Array, " n"]:
    """∇_θ loss(network, *rest), as a flat vector like θ.

    See ``network_gradient``.
    """
    return network_gradient(lambda network: loss(network, *rest), model.unravel(theta))


def network_gradient(loss: Callable[[Any], Float[Array, ""]], network: Any) -> Float[Array, " n"]:
    """∇ of ``loss(network)`` in the network's parameters, ravelled to a flat vector.

    The gradient is taken in the module and ravelled after: slicing a flat vector inside would
    make each layer's share a padded vector of full length.
    """
    parameters, rest = eqx.partition(network, eqx.is_inexact_array)
    gradient = jax.grad(lambda parameters: loss(eqx.combine(parameters, rest)))
    return ravel_pytree(rows_first(gradient)(parameters))[0]
