"""Encoders that carry a hidden state from step to step, and the gated recurrent unit among them.

Rows of a recurrent network come in sequences: each run of ``length`` rows is one, in the order of
time. A sequence starts from the hidden state that the policy had there when it acted, and the state
is zero again where a row begins an episode, so a sequence may hold several episodes and needs no
padding.
"""

from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from klamp.types import Inputs, PyTree


@runtime_checkable
class RecurrentEncoder(Protocol):
    """An encoder with a hidden state: a recurrent unit, a cache of keys and values, a table.

    The hidden state is any pytree of arrays with one row per environment.
    """

    def initial_state(self, rows: int) -> PyTree:
        """The hidden state of so many rows before their first step."""
        ...

    def __call__(self, inputs: Inputs) -> Inputs:
        """Whole sequences: the features of each row take the observation's place.

        Each sequence starts from the hidden state of its first row, and where
        ``inputs.episode_start`` is True from the initial one.
        """
        ...

    def hidden_states(self, inputs: Inputs) -> PyTree:
        """Whole sequences: the hidden state after each row."""
        ...

    def advance(self, hidden_state: PyTree, inputs: Inputs) -> tuple[Inputs, PyTree]:
        """One step of each row by itself, as in acting; and the hidden state after it.

        Where ``inputs.episode_start`` is True the step starts from the initial state instead.
        """
        ...


def encoded_step(encoder: Any, inputs: Inputs) -> tuple[Inputs, PyTree]:
    """One step of each row through any encoder, and its hidden state after it (None without)."""
    if isinstance(encoder, RecurrentEncoder):
        return encoder.advance(inputs.hidden_state, inputs)
    return encoder(inputs), None


class Recurrent(eqx.Module):
    """The encoder of a recurrent network: a torso, then a GRU (Cho et al., arXiv:1406.1078)."""

    torso: Callable[[Inputs], Float[Array, "B h"]]
    cell: eqx.nn.GRUCell
    length: int = eqx.field(static=True)

    def __init__(
        self,
        torso: Callable[[Inputs], Float[Array, "B h"]],
        size_in: int,
        size: int,
        length: int,
        *,
        key: PRNGKeyArray,
    ) -> None:
        self.torso, self.length = torso, length
        self.cell = eqx.nn.GRUCell(size_in, size, key=key)

    def initial_state(self, rows: int) -> Float[Array, "rows m"]:
        """Zeros."""
        return jnp.zeros((rows, self.cell.hidden_size))

    def __call__(self, inputs: Inputs) -> Inputs:
        """Whole sequences: the hidden state after each row takes the observation's place."""
        x = self.torso(inputs)

        def in_time(leaf: Array) -> Array:
            return leaf.reshape(-1, self.length, *leaf.shape[1:]).swapaxes(0, 1)

        def step(hidden_state: Array, row: tuple[Array, Array]) -> tuple[Array, Array]:
            after = self._next(hidden_state, *row)
            return after, after

        start = in_time(inputs.hidden_state)[0]
        _, states = jax.lax.scan(step, start, (in_time(x), in_time(inputs.episode_start)))
        features = states.swapaxes(0, 1).reshape(x.shape[0], -1)
        return inputs._replace(observation=features)

    def hidden_states(self, inputs: Inputs) -> Float[Array, "B m"]:
        """They are the features."""
        return self(inputs).observation

    def advance(
        self, hidden_state: Float[Array, "B m"], inputs: Inputs
    ) -> tuple[Inputs, Float[Array, "B m"]]:
        """One step of each row by itself, as in acting; returns the hidden state after it, too."""
        after = self._next(hidden_state, self.torso(inputs), inputs.episode_start)
        return inputs._replace(observation=after), after

    def _next(
        self, hidden_state: Float[Array, "S m"], x: Float[Array, "S h"], first: Bool[Array, " S"]
    ) -> Any:
        """The hidden state after one step; an episode begins with the initial one."""
        return jax.vmap(self.cell)(x, jnp.where(first[:, None], 0, hidden_state))
