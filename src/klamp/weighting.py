"""Means under per-sample weights: the one place where samples are masked.

Every sample carries a weight; padding, phantom rows and masked tokens weigh 0. Whatever stands
under weight 0 (NaN included) must change neither values nor gradients, so it is replaced by
``where`` and never multiplied away: ``0 * NaN`` is NaN, and so is its gradient.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from klamp.types import OnAny


def scrub(tree: Any, weight: Float[OnAny, " B"] | None) -> Any:
    """Replace every row of weight 0 by zeros, in each leaf that has one row a sample.

    Done once, before anything is computed from the rows: a ``where`` applied to a *result* keeps
    the value clean but not the gradient, which would still be 0·NaN. Without weights nothing is
    replaced.
    """
    if weight is None:
        return tree

    def clean(leaf: Any) -> Any:
        leaf = jnp.asarray(leaf)
        if leaf.shape[:1] != weight.shape:
            return leaf
        keep = (weight > 0).reshape(-1, *(1,) * (leaf.ndim - 1))
        return jnp.where(keep, leaf, jnp.zeros_like(leaf))

    return jax.tree.map(clean, tree)


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
