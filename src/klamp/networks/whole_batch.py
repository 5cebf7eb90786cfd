"""A pass of the networks over a whole batch, some thousands of rows at a time."""

from typing import Any

import jax
from jaxtyping import Array, Float

from klamp.networks.flat_model import Model
from klamp.runtime.device import cpu
from klamp.types import Inputs, PyTree

LARGEST, SMALLEST = 4096, 1024
"""Rows of a block. What a layer of usual width makes of them stays in a CPU's cache."""


def distribution_and_value(
    model: Model, theta: Float[Array, " n"], inputs: PyTree, *, shards: int = 1
) -> tuple[Any, Float[Array, "*B"]]:
    """π(·|s) and V(s) of all rows, as ``ActorCritic.distribution_and_value``, equal to rounding.

    On a CPU, rows beyond ``LARGEST`` are passed block by block: activations of all of them at once
    are written to fresh memory, which takes more than half of the time. All rows are passed
    together where some depend on others, where ``inputs`` hold something without rows, and where
    they lie on several devices (``shards``).
    """
    network = model.unravel(theta)
    rows = divisible(inputs)
    size = block_size(rows)
    if shards > 1 or size == rows or not cpu():
        return network.distribution_and_value(inputs)
    blocks = jax.tree.map(lambda leaf: leaf.reshape(-1, size, *leaf.shape[1:]), inputs)
    found = jax.lax.map(network.distribution_and_value, blocks)
    wanted = jax.eval_shape(network.distribution_and_value, inputs)
    # What all rows have in common is the same in each block.
    return jax.tree.map(
        lambda leaf, like: leaf.reshape(like.shape) if leaf.size == like.size else leaf[0],
        found,
        wanted,
    )


def divisible(inputs: PyTree) -> int:
    """The rows of ``inputs`` that may be passed apart; 0 where they may not."""
    if not isinstance(inputs, Inputs) or inputs.hidden_state is not None:
        return 0
    lengths = {leaf.shape[:1] for leaf in jax.tree.leaves(inputs)}
    return lengths.pop()[0] if len(lengths) == 1 else 0


def block_size(rows: int) -> int:
    """The largest divisor of ``rows`` within the bounds; ``rows`` itself where there is none."""
    if rows <= LARGEST:
        return rows
    return next((size for size in range(LARGEST, SMALLEST - 1, -1) if rows % size == 0), rows)
