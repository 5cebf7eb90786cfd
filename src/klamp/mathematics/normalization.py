"""Running mean and variance of observations and returns, in float64 on the host.

Moments are merged once per rollout. Those of observations are merged after the update: within one
iteration everything uses the scaling with which the actions were chosen, so the ratio at the first
minibatch is 1. Those of returns are merged before it, so that rewards are scaled by all that is
known when they are first used.
"""

from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Shaped

CLIP = 10.0
"""Normalised observations and rewards are clipped to ±10 deviations."""

EPSILON = 1e-8
"""Added to a variance before its root."""


class Moments(NamedTuple):
    """Count, mean and sum of squared deviations, per feature."""

    samples: Float[np.ndarray, ""]
    mean: Float[np.ndarray, "*F"]
    deviations: Float[np.ndarray, "*F"]

    @property
    def variance(self) -> Float[np.ndarray, "*F"]:
        """Population variance; 1 before anything has been seen."""
        if self.samples < 1:
            return np.ones_like(self.mean)
        return np.asarray(self.deviations / self.samples)


class Scaling(NamedTuple):
    """The float32 shift and factor that a rollout is normalised with."""

    shift: Float[np.ndarray, "*F"]
    factor: Float[np.ndarray, "*F"]


def empty_moments(shape: tuple[int, ...]) -> Moments:
    """Moments of no samples."""
    return Moments(np.zeros(()), np.zeros(shape), np.zeros(shape))


def moments_of(samples: Any) -> Moments:
    """Count, mean and squared deviations over the first two axes, in the samples' own precision.

    In numpy or, traced, in JAX. Sums are taken over the second axis and then over the first, which
    keeps the rounding of float32 small; what the mean is off by is taken back out of the
    deviations.
    """
    count = samples.shape[0] * samples.shape[1]
    about = samples.mean(axis=1).mean(axis=0)
    centred = samples - about
    rest = centred.mean(axis=1).mean(axis=0)
    squares = (centred**2).sum(axis=1).sum(axis=0)
    return Moments(count, about + rest, squares - count * rest**2)


def kept_moments(samples: Shaped[np.ndarray, "T N *F"], keep: Bool[np.ndarray, "T N"]) -> Moments:
    """The moments of the samples of ``keep``, in float64."""
    kept = np.asarray(samples, np.float64)[keep]
    return moments_of(kept[None]) if len(kept) else empty_moments(samples.shape[2:])


def update_moments(moments: Moments, added: Moments) -> Moments:
    """Merge the moments of further samples by Chan's rule, in float64."""
    if not int(added.samples):
        return moments
    merged = merge(moments, *(np.asarray(part, np.float64) for part in added))
    # numpy turns what has no axis into scalars, which are not arrays.
    return Moments(*(np.asarray(part, np.float64) for part in merged))


def merge(moments: Any, count: Any, mean: Any, deviations: Any) -> Moments:
    """Moments with those of ``count`` > 0 further samples, by Chan's rule."""
    total = moments.samples + count
    delta = mean - moments.mean
    return Moments(
        total,
        moments.mean + delta * (count / total),
        moments.deviations + deviations + delta**2 * (moments.samples * count / total),
    )


def scaling(moments: Moments, *, centre: bool = True) -> Scaling:
    """The shift and factor that standardise; ``centre=False`` (rewards) keeps the sign."""
    shift = moments.mean if centre else np.zeros_like(moments.mean)
    factor = 1 / np.sqrt(moments.variance + EPSILON)
    return Scaling(np.asarray(shift, np.float32), np.asarray(factor, np.float32))


def identity_scaling(shape: tuple[int, ...]) -> Scaling:
    """The scaling that changes nothing."""
    return Scaling(np.zeros(shape, np.float32), np.ones(shape, np.float32))


def normalize(x: Float[Array, "*S"], by: Scaling) -> Float[Array, "*S"]:
    """(x − shift)·factor, clipped to ±10. Traced and host code both call this.

    Where ``by`` has fewer features than ``x``, they are the first ones, and the others, which are
    images, stay as they are.
    """
    first = by.shift.shape[-1:]
    if first and first != x.shape[-1:]:
        numbers, rest = x[..., : first[0]], x[..., first[0] :]
        return jnp.concatenate([normalize(numbers, by), rest], axis=-1)
    return jnp.clip((x - by.shift) * by.factor, -CLIP, CLIP)


def discounted_sums(
    carry: Float[np.ndarray, " N"],
    reward: Float[np.ndarray, "T N"],
    ended: Bool[np.ndarray, "T N"],
    discount: float,
) -> tuple[Float[np.ndarray, " N"], Float[np.ndarray, "T N"]]:
    """R_t = γ·R_{t−1} + r_t, restarted after each episode: what rewards are scaled by."""
    sums = np.empty(reward.shape, np.float64)
    running = np.asarray(carry, np.float64)
    for t in range(len(reward)):
        running = discount * running + reward[t]
        sums[t] = running
        running = np.where(ended[t], 0.0, running)
    return running, sums
