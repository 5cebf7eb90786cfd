"""Dropout as it is commonly programmed: every call of the network draws its masks anew."""

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

from klamp.config.settings import Settings
from klamp.networks import build_network
from klamp.types import Inputs


def bits(x: Any) -> Any:
    """The numbers of each row as one word."""
    words = jax.lax.bitcast_convert_type(jax.lax.stop_gradient(x), jnp.uint32)
    odd = 2 * jnp.arange(words.shape[-1], dtype=jnp.uint32) + 1
    return (words * odd).sum(axis=-1, dtype=jnp.uint32)


class FreshMasks(eqx.Module):
    """A torso that forgets which mask a transition had.

    Each place of the program that calls it has a number, each θ (a candidate of the line search)
    and each observation its bits: together they give masks that no other call sees.
    """

    torso: Any
    calls: Iterator[int] = eqx.field(static=True)

    def __call__(self, inputs: Inputs) -> Any:
        """Features under masks of this call alone."""
        if inputs.dropout_key is not None:
            place = jnp.uint32(next(self.calls) * 2_654_435_761 % 2**32)
            theta = sum(bits(layer.weight.reshape(1, -1))[0] for layer in self.torso.layers)
            rows = bits(inputs.observation) + jnp.arange(len(inputs.observation), dtype=jnp.uint32)
            words = jnp.stack([rows, jnp.broadcast_to(theta ^ place, rows.shape)], axis=1)
            inputs = inputs._replace(dropout_key=words)
        return self.torso(inputs)


def fresh(rate: float) -> Callable[..., Any]:
    """The built-in network with fresh masks."""

    def build(observation: Any, action: Any, key: Any) -> Any:
        network = build_network(observation, action, Settings(dropout=rate), key=key)
        forgetful = FreshMasks(network.actor.torso, itertools.count(1))
        return eqx.tree_at(lambda whole: whole.actor.torso, network, forgetful)

    build.__name__ = f"fresh masks {rate}"
    return build
