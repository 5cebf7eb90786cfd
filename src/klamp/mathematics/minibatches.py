"""Shuffled minibatches as a table of row numbers, so that a whole update is one scan."""

from collections.abc import Callable
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int, PRNGKeyArray, Shaped

from klamp.mathematics.weighting import along, map_rows
from klamp.types import Batch, PyTree, Shared

Rows = TypeVar("Rows")
"""A batch, or anything else whose leaves have one row per sample, or per sequence of samples."""

Carry = TypeVar("Carry")
"""What is carried from minibatch to minibatch."""


def permutations(key: PRNGKeyArray, count: int, rows: int) -> Int[Array, "count rows"]:
    """``count`` random orders of 0 … rows − 1.

    Sorts single words that carry random high bits and the row number in the low bits, which costs
    a sixth of sorting by a separate key. With up to 2¹⁴ rows at least 18 bits are random, and the
    few ties keep their order. Larger batches leave fewer bits, so they are sorted again and again:
    ties of a later sort keep the order of the one before, as if all the bits had been one number,
    and enough of them are drawn for less than one tie to be expected.
    """
    if rows > 2**20:
        keys = jax.random.split(key, count)
        return jax.vmap(lambda k: jax.random.permutation(k, rows))(keys)
    width = max(rows - 1, 1).bit_length()
    sorts = 1 if rows <= 2**14 else -(-2 * width // (32 - width))
    low, places = jnp.uint32(2**width - 1), jnp.arange(rows, dtype=jnp.uint32)
    noise = jax.random.bits(key, (sorts * count, rows), jnp.uint32)

    def sort(noise: Array) -> Array:
        return jnp.sort((noise & ~low) | places, axis=1) & low

    order = sort(noise[:count])
    for first in range(count, sorts * count, count):
        order = jnp.take_along_axis(order, sort(noise[first : first + count]), axis=1)
    return order.astype(jnp.int32)


def minibatch_rows(
    key: PRNGKeyArray, epochs: int, rows: int, size: int, *, sequence: int = 1, shards: int = 1
) -> Int[Array, "epochs *shards parts size"]:
    """Row numbers of every minibatch: each epoch visits each row once, in a new order.

    Where ``size`` does not divide ``rows`` the last minibatch is filled with −1, which
    ``take_rows`` turns into rows of weight 0. Runs of ``sequence`` rows stay together, in order.

    Where the batch consists of several ``shards``, which lie one after another, each minibatch is
    the union of equal shares of them, so that no row moves between the devices that hold them: the
    table is [epochs, shards, parts, size/shards], of row numbers inside each shard, in an order of
    its own.
    """
    if shards > 1:

        def of_one(shard: Array) -> Array:
            own = jax.random.fold_in(key, shard)
            return minibatch_rows(own, epochs, rows // shards, size // shards, sequence=sequence)

        return jnp.moveaxis(jax.vmap(of_one)(jnp.arange(shards)), 0, 1)
    blocks = rows // sequence
    size = max(min(size // sequence, blocks), 1)
    order = permutations(key, epochs, blocks)
    missing = -blocks % size
    if missing:
        order = jnp.pad(order, ((0, 0), (0, missing)), constant_values=-1)
    if sequence > 1:
        # Every row of block −1 is negative as well.
        order = order[..., None] * sequence + jnp.arange(sequence)
    return order.reshape(epochs, -1, size * sequence)


def take_rows(batch: Batch, rows: Int[Array, "*S size"], total: int, *, shards: int = 1) -> Batch:
    """The chosen rows of a batch; a negative row number gives weight 0.

    ``rows`` is an epoch of a table of ``minibatch_rows``, or with one shard a part of it. What is
    ``Shared`` stays as it is, once for all of the ``*S`` minibatches: ``scan_minibatches``.
    """
    part: Batch = map_rows(lambda leaf: chosen(leaf, rows, shards=shards), batch)
    if total // shards % rows.shape[-1] == 0:
        return part
    real: Bool[Array, "*S size"] = (rows if shards == 1 else _union(rows)) >= 0
    weight: Array = jnp.ones(part.advantage.shape) if part.weight is None else part.weight
    return part._replace(weight=jnp.where(along(real, weight), weight, 0))


def chosen(leaf: Shaped[Array, "B *F"], rows: Int[Array, "*S size"], *, shards: int = 1) -> Array:
    """[…, size, *F]: the rows of one leaf, by the same table."""
    if shards == 1:
        return leaf[rows]
    held = leaf.reshape(shards, -1, *leaf.shape[1:])
    return _union(jax.vmap(lambda shard, own: shard[own])(held, rows))


def _union(shares: Shaped[Array, "shards parts size *F"]) -> Shaped[Array, "parts rows *F"]:
    """The minibatches, each of what every shard has chosen for it."""
    together = jnp.moveaxis(shares, 0, 1)
    return together.reshape(together.shape[0], -1, *together.shape[3:])


def scan_minibatches(
    step: Callable[[Carry, PyTree], Carry], carry: Carry, minibatches: PyTree
) -> Carry:
    """``carry`` after ``step(carry, minibatch)`` for each row of the first axis, in order.

    Each minibatch gets what is ``Shared`` as it is: it is not copied for each of them.
    """
    parts, structure = jax.tree.flatten(minibatches, is_leaf=lambda x: isinstance(x, Shared))
    is_shared = [isinstance(part, Shared) for part in parts]
    own = [part for part, shared in zip(parts, is_shared, strict=True) if not shared]

    def body(carry: Carry, rows: list[Array]) -> tuple[Carry, None]:
        following = iter(rows)
        whole = [
            part if shared else next(following)
            for part, shared in zip(parts, is_shared, strict=True)
        ]
        return step(carry, jax.tree.unflatten(structure, whole)), None

    return jax.lax.scan(body, carry, own)[0]


def every_kth(batch: Rows, k: int, *, sequence: int = 1) -> Rows:
    """The rows 0, k, 2k, …; of a batch of sequences, every k-th sequence."""
    if k == 1:
        return batch

    def thin(leaf: Any) -> Any:
        return leaf.reshape(-1, sequence, *leaf.shape[1:])[::k].reshape(-1, *leaf.shape[1:])

    thinned: Rows = map_rows(thin, batch)
    return thinned


def number_of_rows(batch: Batch) -> int:
    """B, or S where the samples lie in sequences: what minibatches are drawn from."""
    leaf: Any = jax.tree.leaves(batch.advantage)[0]
    return int(leaf.shape[0])
