"""Objectives of the policy (maximised, ``…_surrogate``) and losses of the critic (minimised).

All take one number a sample and a weight a sample, and return a weighted mean.
"""

import jax.numpy as jnp
from jaxtyping import Array, Float

from klamp.weighting import weighted_mean, weighted_variance

Weight = Float[Array, " B"] | None


def importance_ratio(
    log_prob: Float[Array, " B"], old_log_prob: Float[Array, " B"]
) -> Float[Array, " B"]:
    """r = π_new(a|s) / π_old(a|s); exactly 1 where the two are the same computation."""
    return jnp.exp(log_prob - old_log_prob)


def importance_surrogate(
    ratio: Float[Array, " B"], advantage: Float[Array, " B"], weight: Weight = None
) -> Float[Array, ""]:
    """E[r·Â] (arXiv:1502.05477, eq. 14; arXiv:1707.06347, eq. 6)."""
    return weighted_mean(ratio * advantage, weight)


def clipped_surrogate(
    ratio: Float[Array, " B"],
    advantage: Float[Array, " B"],
    clip: float | Float[Array, ""],
    weight: Weight = None,
) -> Float[Array, ""]:
    """E[min(r·Â, clip(r, 1 − ε, 1 + ε)·Â)] (arXiv:1707.06347, eq. 7)."""
    clipped = jnp.clip(ratio, 1 - clip, 1 + clip)
    return weighted_mean(jnp.minimum(ratio * advantage, clipped * advantage), weight)


def value_loss(
    value: Float[Array, " B"], target: Float[Array, " B"], weight: Weight = None
) -> Float[Array, ""]:
    """½ E[(V − target)²]."""
    return 0.5 * weighted_mean(jnp.square(value - target), weight)


def entropy_bonus(entropy: Float[Array, " B"], weight: Weight = None) -> Float[Array, ""]:
    """E[H(π(·|s))], in nats (arXiv:1707.06347, eq. 9, the term S)."""
    return weighted_mean(entropy, weight)


def explained_variance(
    value: Float[Array, " B"], target: Float[Array, " B"], weight: Weight = None
) -> Float[Array, ""]:
    """1 − Var[target − V] / Var[target]: 1 is perfect, 0 a constant, below 0 worse than that."""
    spread = weighted_variance(target, weight)
    return 1 - weighted_variance(target - value, weight) / jnp.where(spread > 0, spread, jnp.nan)


def effective_sample_size(ratio: Float[Array, " B"], weight: Weight = None) -> Float[Array, ""]:
    """(E r)² / E r², in (0, 1]: the share of the batch that its importance weights leave."""
    return jnp.square(weighted_mean(ratio, weight)) / weighted_mean(jnp.square(ratio), weight)
