"""A network of which each device has a copy of its own, so that its gradient is summed once.

Where rows lie on several devices and θ on all of them, the gradient of each array of θ is a sum
over devices of its own, and a sum costs mostly for being one. By copies, the gradient of a device's
copy is of its own rows, and those of all copies, as one vector each, are summed together.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from klamp.networks.actor_critic import ActorCritic
from klamp.networks.flat_model import Section
from klamp.runtime.equations import once
from klamp.types import Inputs, PyTree


@dataclass(frozen=True)
class PerDevice:
    """What losses ask of an ``ActorCritic``; each device answers for its own rows."""

    section: Section
    """From parameters to the network."""
    copies: PyTree
    """The parameters, [devices, …] each."""
    common: PyTree
    """The parameters, of which comes what the rows of all devices share."""
    devices: int

    def distribution(self, inputs: Inputs) -> Any:
        """π(·|inputs), one row per sample."""
        return self._ask(ActorCritic.distribution, inputs)

    def value(self, inputs: Inputs) -> Float[Array, "*B"]:
        """V(inputs), one row per sample."""
        return self._ask(ActorCritic.value, inputs)

    def distribution_and_value(self, inputs: Inputs) -> tuple[Any, Float[Array, "*B"]]:
        """Both, encoding once."""
        return self._ask(ActorCritic.distribution_and_value, inputs)

    def _ask(self, question: Callable[[ActorCritic, Inputs], Any], inputs: Inputs) -> Any:
        def one(parameters: PyTree, own: Inputs) -> Any:
            return question(self.section.network(parameters), own)

        def divide(leaf: Array) -> Array:
            return leaf.reshape(self.devices, -1, *leaf.shape[1:])

        found = jax.vmap(one)(self.copies, jax.tree.map(divide, inputs))
        shared = one(self.common, inputs)
        # What is not of rows, as a scale that all states have, is not divided.
        return jax.tree.map(
            lambda own, all_rows: (
                own.reshape(all_rows.shape) if own.size == all_rows.size else all_rows
            ),
            found,
            shared,
        )


def per_device(section: Section, parameters: PyTree, devices: int) -> PerDevice:
    """The network with the same parameters on each device."""
    return PerDevice(section, _copies(parameters, devices), parameters, devices)


def _copies(parameters: PyTree, devices: int) -> PyTree:
    """[devices, …] of each of the parameters."""
    return jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (devices, *leaf.shape)), parameters)


def gradient_per_device(
    loss: Callable[[Any], Float[Array, ""]],
    section: Section,
    flat: Float[Array, " m"],
    devices: int,
) -> Float[Array, " m"]:
    """∇ of ``loss(network)`` in a section's own part of θ, by one sum over devices."""
    parameters = section.parameters(flat)
    leaves, structure = jax.tree.flatten(parameters)

    def of(copies: list[Array], common: list[Array]) -> Float[Array, ""]:
        each, all_rows = (jax.tree.unflatten(structure, part) for part in (copies, common))
        return loss(PerDevice(section, each, all_rows, devices))

    own, common = once(jax.grad(of, argnums=(0, 1)))(_copies(leaves, devices), leaves)
    together = jnp.concatenate([leaf.reshape(devices, -1) for leaf in own], axis=1)
    return together.sum(0) + jnp.concatenate([leaf.ravel() for leaf in common])
