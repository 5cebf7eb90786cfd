"""Means under per-sample weights: the one place where samples are masked.

Every sample carries a weight; padding, phantom rows and masked tokens weigh 0. Whatever stands
under weight 0 (NaN included) must change neither values nor gradients, so it is replaced by
``where`` and never multiplied away: ``0 * NaN`` is NaN, and so is its gradient.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from klamp.types import Batch, OnAny, Shared


def map_rows(
    function: Callable[[Array], Array],
    tree: Any,
    *,
    shared: Callable[[Shared], Shared] = lambda part: part,
) -> Any:
    """``function`` of each leaf that has one row per sample; ``shared`` of the ``Shared`` parts."""

    def apply(part: Any) -> Any:
        return shared(part) if isinstance(part, Shared) else function(jnp.asarray(part))

    return jax.tree.map(apply, tree, is_leaf=lambda part: isinstance(part, Shared))


def scrub(tree: Any, weight: Float[OnAny, " B"] | None) -> Any:
    """Replace every row of weight 0 by the first row that has weight.

    Done once, before anything is computed from the rows: a ``where`` applied to a *result* keeps
    the value clean but not the gradient, which would still be 0·NaN. A row that has weight lies in
    the domain of whatever is computed from it; a row of zeros need not (the α of a Beta
    distribution). Where no row has weight all become ones, which every distribution here takes.
    Without weights nothing is replaced.

    Raises ``ValueError`` for a leaf without one row per sample that is not ``Shared``.
    """
    if weight is None:
        return tree
    weight = jnp.asarray(weight)
    kept = weight > 0
    first, some = jnp.argmax(kept), jnp.any(kept)

    def clean(leaf: Array) -> Array:
        if leaf.shape[:1] != weight.shape:
            raise ValueError(
                f"The batch has {weight.shape[0]} weights, but a leaf of shape {leaf.shape} among "
                "what it holds for each sample. Expected one row per sample in every leaf; wrap "
                "what is not one row per sample in `klamp.Shared`."
            )
        row = jnp.where(some, leaf[first], jnp.ones_like(leaf[0]))
        return jnp.where(kept.reshape(-1, *(1,) * (leaf.ndim - 1)), leaf, row)

    return map_rows(clean, tree)


def scored(batch: Batch) -> Batch:
    """The batch with every row of weight 0 replaced: what stood there changes no bit.

    What a policy is computed from becomes a row that is scored, numbers become 0.
    """
    if batch.weight is None:
        return batch
    rows = scrub((batch.inputs, batch.action, batch.old), batch.weight)
    numbers = (batch.advantage, batch.weight, batch.value_target, batch.old_value)
    advantage, weight, target, value = zeroed(numbers, batch.weight)
    inputs, action, old = rows
    return Batch(inputs, action, advantage, old, weight, target, value)


def zeroed(tree: Any, weight: Float[OnAny, "*S"] | None) -> Any:
    """Numbers with 0 in place of those of weight 0."""
    if weight is None:
        return tree
    return jax.tree.map(lambda leaf: jnp.where(weight > 0, leaf, 0), tree)


def weighted_mean(
    x: Float[OnAny, "*S"], weight: Float[OnAny, "*S"] | None = None
) -> Float[Array, ""]:
    """Σ wᵢxᵢ / Σ wᵢ; the plain mean without weights; 0 where no sample has weight."""
    if weight is None:
        return jnp.mean(x)
    kept = jnp.where(weight > 0, x, 0)
    total = jnp.sum(jnp.where(weight > 0, weight, 0))
    return jnp.sum(kept * jnp.where(weight > 0, weight, 0)) / jnp.where(total > 0, total, 1)


def weighted_variance(
    x: Float[OnAny, "*S"], weight: Float[OnAny, "*S"] | None = None
) -> Float[Array, ""]:
    """Σ wᵢ(xᵢ − x̄)² / Σ wᵢ, in two passes: E[x²] − E[x]² loses every digit in float32."""
    kept = x if weight is None else jnp.where(weight > 0, x, 0)
    return weighted_mean(jnp.square(kept - weighted_mean(kept, weight)), weight)


def weighted_maximum(
    x: Float[OnAny, "*S"], weight: Float[OnAny, "*S"] | None = None
) -> Float[Array, ""]:
    """The largest xᵢ among samples with weight; −∞ where none has."""
    return jnp.max(x) if weight is None else jnp.max(jnp.where(weight > 0, x, -jnp.inf))
