"""A memory: features pass through a gated recurrent unit that policy and critic share.

Rows of a recurrent network come in sequences: each run of ``length`` rows is one, in the order of
time. A sequence starts from the state that acting had there, and the state is zero again where a
row begins an episode, so a sequence may hold several episodes and needs no padding.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from klamp.networks.layers import MLP
from klamp.types import Inputs


class Recurrent(eqx.Module):
    """The encoder of a recurrent network: a torso, then a GRU (Cho et al., arXiv:1406.1078)."""

    torso: MLP
    cell: eqx.nn.GRUCell
    length: int = eqx.field(static=True)

    def __init__(
        self, torso: MLP, size_in: int, size: int, length: int, *, key: PRNGKeyArray
    ) -> None:
        self.torso, self.length = torso, length
        self.cell = eqx.nn.GRUCell(size_in, size, key=key)

    def __call__(self, inputs: Inputs) -> Inputs:
        """Whole sequences: the memory after each row takes the observation's place."""
        x = self.torso(inputs)

        def in_time(leaf: Array) -> Array:
            return leaf.reshape(-1, self.length, *leaf.shape[1:]).swapaxes(0, 1)

        def step(memory: Array, row: tuple[Array, Array]) -> tuple[Array, Array]:
            memory = self._next(memory, *row)
            return memory, memory

        start = in_time(inputs.memory)[0]
        _, memories = jax.lax.scan(step, start, (in_time(x), in_time(inputs.first)))
        features = memories.swapaxes(0, 1).reshape(x.shape[0], -1)
        return inputs._replace(observation=features)

    def advance(self, inputs: Inputs) -> tuple[Inputs, Float[Array, "B m"]]:
        """One step of each row by itself, as in acting; the memory after it comes too."""
        memory = self._next(inputs.memory, self.torso(inputs), inputs.first)
        return inputs._replace(observation=memory), memory

    def _next(
        self, memory: Float[Array, "S m"], x: Float[Array, "S h"], first: Bool[Array, " S"]
    ) -> Any:
        """The memory after one step; an episode begins with none."""
        return jax.vmap(self.cell)(x, jnp.where(first[:, None], 0, memory))
