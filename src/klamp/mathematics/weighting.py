"""Means under per-sample weights: the one place where samples are masked.

Every sample has a weight; padding, the extra step of an autoreset and masked tokens have weight 0.
The content of a sample of weight 0 (NaN included) must change neither values nor gradients, so it
is replaced by ``where`` and never multiplied away: ``0 * NaN`` is NaN, and so is its gradient.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from klamp.types import Batch, HostOrDevice, PyTree, Shared


def map_rows(
    function: Callable[[Array], Array],
    tree: PyTree,
    *,
    shared: Callable[[Shared], Shared] = lambda part: part,
) -> PyTree:
    """``function`` of each leaf that has one row per sample; ``shared`` of the ``Shared`` parts."""

    def apply(part: Any) -> Any:
        return shared(part) if isinstance(part, Shared) else function(jnp.asarray(part))

    return jax.tree.map(apply, tree, is_leaf=lambda part: isinstance(part, Shared))


def scrub(tree: PyTree, weight: Float[HostOrDevice, "*B"] | None) -> PyTree:
    """Replace every sample of weight 0 by the first sample that has weight.

    Done once, before anything is computed from the rows: a ``where`` applied to a *result* keeps
    the value clean but not the gradient, which would still be 0·NaN. A row that has weight lies in
    the domain of whatever is computed from it; a row of zeros need not (the α of a Beta
    distribution). Where no row has weight all become ones, which every distribution here takes.
    Without weights nothing is replaced.

    Samples lie along the axes of ``weight``, with which the shape of every leaf begins. Raises
    ``ValueError`` for one whose shape does not, and that is not ``Shared``.
    """
    if weight is None:
        return tree
    weight = jnp.asarray(weight)
    kept = weight > 0
    first = jnp.argmax(kept)
    some = _row(kept.reshape(-1), first)

    def clean(leaf: Array) -> Array:
        if leaf.shape[: weight.ndim] != weight.shape:
            raise ValueError(
                f"The batch has weights of shape {weight.shape}, but a leaf of shape {leaf.shape} "
                "among what it holds for each sample. Expected one row per sample in every leaf; "
                "wrap what is not one row per sample in `klamp.Shared`."
            )
        rows = leaf.reshape(-1, *leaf.shape[weight.ndim :])
        row = jnp.where(some, _row(rows, first), jnp.ones_like(rows[0]))
        return jnp.where(along(kept, leaf), leaf, row)

    return map_rows(clean, tree)


def _row(rows: Array, number: Array) -> Array:
    """One row, by a gather: XLA asks one device for it, where a slice brings all rows to each."""
    return jnp.take(rows, number[None], axis=0, mode="clip")[0]


def along(samples: Array, leaf: Array) -> Array:
    """One number per sample, shaped to broadcast against each sample's part of a leaf."""
    return samples.reshape(*samples.shape, *(1,) * (leaf.ndim - samples.ndim))


def of_sequences(weight: Float[HostOrDevice, "S *A"] | None) -> Float[HostOrDevice, " S"] | None:
    """The largest weight of each row of the first axis: 0 where nothing in it is scored.

    This is the weight of ``inputs``, whose rows are those of the first axis. A sample of weight 0
    in a sequence with others is not scored, but the policy still sees it.
    """
    if weight is None or weight.ndim == 1:
        return weight
    return jnp.max(weight, axis=tuple(range(1, weight.ndim)))


def scored(batch: Batch) -> Batch:
    """The batch with every sample of weight 0 replaced: what stood there changes no bit.

    What a policy is computed from becomes that of a sample that is scored, numbers become 0.
    ``inputs`` are replaced by whole rows, where nothing in a row is scored.
    """
    if batch.weight is None:
        return batch
    inputs = scrub(batch.inputs, of_sequences(batch.weight))
    action, old = scrub((batch.action, batch.old), batch.weight)
    numbers = (batch.advantage, batch.weight, batch.value_target, batch.old_value)
    advantage, weight, target, value = zeroed(numbers, batch.weight)
    reference = scrub(batch.reference, batch.weight)
    return Batch(inputs, action, advantage, old, weight, target, value, reference)


def zeroed(tree: PyTree, weight: Float[HostOrDevice, "*S"] | None) -> PyTree:
    """Numbers with 0 in place of those of weight 0."""
    if weight is None:
        return tree
    return jax.tree.map(lambda leaf: jnp.where(weight > 0, leaf, 0), tree)


def weighted_mean(
    x: Float[HostOrDevice, "*S"], weight: Float[HostOrDevice, "*S"] | None = None
) -> Float[Array, ""]:
    """Σ wᵢxᵢ / Σ wᵢ; the plain mean without weights; 0 where no sample has weight."""
    if weight is None:
        return jnp.mean(x)
    kept = jnp.where(weight > 0, x, 0)
    total = jnp.sum(jnp.where(weight > 0, weight, 0))
    return jnp.sum(kept * jnp.where(weight > 0, weight, 0)) / jnp.where(total > 0, total, 1)


def weighted_variance(
    x: Float[HostOrDevice, "*S"], weight: Float[HostOrDevice, "*S"] | None = None
) -> Float[Array, ""]:
    """Σ wᵢ(xᵢ − x̄)² / Σ wᵢ, in two passes: E[x²] − E[x]² loses every digit in float32."""
    kept = x if weight is None else jnp.where(weight > 0, x, 0)
    return weighted_mean(jnp.square(kept - weighted_mean(kept, weight)), weight)


def weighted_maximum(
    x: Float[HostOrDevice, "*S"], weight: Float[HostOrDevice, "*S"] | None = None
) -> Float[Array, ""]:
    """The largest xᵢ among samples with weight; −∞ where none has."""
    return jnp.max(x) if weight is None else jnp.max(jnp.where(weight > 0, x, -jnp.inf))
