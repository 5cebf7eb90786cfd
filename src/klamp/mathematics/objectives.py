"""Objectives of the policy (maximised, ``…_surrogate``) and losses of the critic (minimised).

All take one number per sample and a weight per sample, and return a weighted mean.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from klamp.mathematics.distributions import kl_divergence
from klamp.mathematics.weighting import weighted_maximum, weighted_mean, weighted_variance, zeroed
from klamp.types import Distribution, Reference

Weight = Float[Array, "*B"] | None


def importance_ratio(
    log_prob: Float[Array, "*B"], old_log_prob: Float[Array, "*B"]
) -> Float[Array, "*B"]:
    """R = π_new(a|s) / π_old(a|s); exactly 1 where the two are the same computation."""
    return jnp.exp(log_prob - old_log_prob)


def sequence_ratio(
    log_prob: Float[Array, "S *A"], old_log_prob: Float[Array, "S *A"], weight: Weight = None
) -> Float[Array, "S *A"]:
    """(Π_t r_t)^(1/n) over the n samples of a sequence that have weight, for each of them.

    The ratio of Group Sequence Policy Optimisation (arXiv:2507.18071, eq. 7). Where samples have
    one axis only, each is a sequence of its own.
    """
    change = zeroed(log_prob - old_log_prob, weight)
    scored = jnp.ones_like(change) if weight is None else (weight > 0).astype(change.dtype)
    along = tuple(range(1, change.ndim))
    count = jnp.maximum(jnp.sum(scored, axis=along, keepdims=True), 1)
    mean = jnp.sum(change, axis=along, keepdims=True) / count
    return jnp.broadcast_to(jnp.exp(mean), change.shape)


def log_prob_surrogate(
    log_prob: Float[Array, "*B"], advantage: Float[Array, "*B"], weight: Weight = None
) -> Float[Array, ""]:
    """E[log π(a|s)·Â], whose gradient at π_old is the policy gradient (arXiv:1707.06347, eq. 2)."""
    log_prob, advantage = zeroed((log_prob, advantage), weight)
    return weighted_mean(log_prob * advantage, weight)


def importance_surrogate(
    ratio: Float[Array, "*B"], advantage: Float[Array, "*B"], weight: Weight = None
) -> Float[Array, ""]:
    """E[r·Â] (arXiv:1502.05477, eq. 14; arXiv:1707.06347, eq. 6)."""
    ratio, advantage = zeroed((ratio, advantage), weight)
    return weighted_mean(ratio * advantage, weight)


def clipped_surrogate(
    ratio: Float[Array, "*B"],
    advantage: Float[Array, "*B"],
    clip: float | Float[Array, ""],
    weight: Weight = None,
    *,
    clip_upper: float | None = None,
    dual_clip: float | None = None,
) -> Float[Array, ""]:
    """E[min(r·Â, clip(r, 1 − ε, 1 + ε)·Â)] (arXiv:1707.06347, eq. 7).

    ``clip_upper`` is the ε above 1 where it differs from the one below (arXiv:2503.14476, eq. 10).
    ``dual_clip`` c > 1 bounds the objective of a sample with Â < 0 by c·Â from below
    (arXiv:1912.09729, eq. 5): this bounds the gradient of samples with a negative advantage.
    """
    ratio, advantage = zeroed((ratio, advantage), weight)
    clipped = jnp.clip(ratio, 1 - clip, 1 + (clip if clip_upper is None else clip_upper))
    objective = jnp.minimum(ratio * advantage, clipped * advantage)
    if dual_clip is not None:
        bounded = jnp.maximum(objective, dual_clip * advantage)
        objective = jnp.where(advantage < 0, bounded, objective)
    return weighted_mean(objective, weight)


def truncated_surrogate(
    ratio: Float[Array, "*B"],
    log_prob: Float[Array, "*B"],
    advantage: Float[Array, "*B"],
    clip: float | Float[Array, ""],
    weight: Weight = None,
    *,
    clip_upper: float | None = None,
) -> Float[Array, ""]:
    """E[clip(r, 1 − ε, 1 + ε_upper)·Â·log π], the clipped ratio a constant.

    CISPO (arXiv:2506.13585, eq. 4): every sample keeps its gradient, of bounded weight.
    """
    ratio, log_prob, advantage = zeroed((ratio, log_prob, advantage), weight)
    bounded = jnp.clip(ratio, 1 - clip, 1 + (clip if clip_upper is None else clip_upper))
    return weighted_mean(jax.lax.stop_gradient(bounded) * advantage * log_prob, weight)


def reference_penalty(
    new: Distribution, reference: Reference | None, weight: Weight = None
) -> Float[Array, ""]:
    """E[β·KL(new‖reference)], exact in each state, so that its gradient is the true one; ≥ 0.

    0 without a reference.
    """
    if reference is None:
        # Of no dtype of its own: the surrogate that it is taken from keeps its own.
        return jnp.asarray(0.0)
    kl = kl_divergence(p=new, q=reference.distribution)
    kl, coefficient = zeroed((kl, reference.coefficient), weight)
    return weighted_mean(coefficient * kl, weight)


def penalized_surrogate(
    ratio: Float[Array, "*B"],
    advantage: Float[Array, "*B"],
    kl: Float[Array, "*B"],
    kl_coefficient: float | Float[Array, ""],
    weight: Weight = None,
) -> Float[Array, ""]:
    """E[r·Â − β·KL(old‖new)], with the exact KL of each state (arXiv:1707.06347, eq. 8)."""
    ratio, advantage, kl = zeroed((ratio, advantage, kl), weight)
    return weighted_mean(ratio * advantage - kl_coefficient * kl, weight)


def value_loss(
    value: Float[Array, "*B"], target: Float[Array, "*B"] | None, weight: Weight = None
) -> Float[Array, ""]:
    """½ E[(V − target)²]; 0 where there is no target, so that nothing is learned of V."""
    if target is None:
        return jnp.zeros(())
    value, wanted = zeroed((value, target), weight)
    return 0.5 * weighted_mean(jnp.square(value - wanted), weight)


def clipped_value_loss(
    value: Float[Array, "*B"],
    old_value: Float[Array, "*B"],
    target: Float[Array, "*B"] | None,
    clip: float,
    weight: Weight = None,
) -> Float[Array, ""]:
    """½ E[max((V − target)², (V_old + clip(V − V_old, ±c) − target)²)].

    As in OpenAI's `baselines` (ppo2); no paper states it. A value that has moved more than c
    towards its target has no gradient; one that has moved away from it keeps its full gradient. 0
    where there is no target.
    """
    if target is None:
        return jnp.zeros(())
    value, old_value, wanted = zeroed((value, old_value, target), weight)
    near = old_value + jnp.clip(value - old_value, -clip, clip)
    squares = jnp.maximum(jnp.square(value - wanted), jnp.square(near - wanted))
    return 0.5 * weighted_mean(squares, weight)


def entropy_bonus(entropy: Float[Array, "*B"], weight: Weight = None) -> Float[Array, ""]:
    """E[H(π(·|s))], in nats (arXiv:1707.06347, eq. 9, the term S)."""
    return weighted_mean(entropy, weight)


def joint_loss(
    surrogate: Float[Array, ""],
    value_loss: Float[Array, ""],
    entropy: Float[Array, ""],
    *,
    value_coefficient: float,
    entropy_coefficient: float,
) -> Float[Array, ""]:
    """−L + c₁·E[(V − target)²] − c₂·E[H] (arXiv:1707.06347, eq. 9, with its sign turned).

    ``value_loss`` carries a ½ that the paper's squared error does not: c₁ is the paper's.
    """
    return -surrogate + value_coefficient * 2 * value_loss - entropy_coefficient * entropy


def explained_variance(
    value: Float[Array, "*B"], target: Float[Array, "*B"], weight: Weight = None
) -> Float[Array, ""]:
    """1 − Var[target − V] / Var[target]: 1 is perfect, 0 as good as a constant."""
    value, target = zeroed((value, target), weight)
    spread = weighted_variance(target, weight)
    return 1 - weighted_variance(target - value, weight) / jnp.where(spread > 0, spread, jnp.nan)


def effective_sample_size(log_ratio: Float[Array, "*B"], weight: Weight = None) -> Float[Array, ""]:
    """(E r)² / E r² of r = exp(``log_ratio``), in (0, 1]: the share that importance weights leave.

    Of the batch, by its effective sample size. In units of the largest ratio, none overflows.
    """
    ratio = jnp.exp(zeroed(log_ratio - weighted_maximum(log_ratio, weight), weight))
    return jnp.square(weighted_mean(ratio, weight)) / weighted_mean(jnp.square(ratio), weight)
