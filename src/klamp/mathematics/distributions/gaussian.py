"""Independent normal actions."""

import math

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float, PRNGKeyArray


class DiagonalGaussian(eqx.Module):
    """Independent normal actions; ``log_std`` (nats) broadcasts against ``mean``."""

    mean: Float[Array, "*B a"]
    log_std: Float[Array, "*B a"]

    def __init__(self, mean: ArrayLike, log_std: ArrayLike) -> None:
        # Both leaves get the batch's shape, so that every parameter has one row per sample.
        self.mean, self.log_std = jnp.broadcast_arrays(jnp.asarray(mean), jnp.asarray(log_std))

    def noise(self, key: PRNGKeyArray, sample_shape: tuple[int, ...] = ()) -> Float[Array, "*S a"]:
        """Standard normal noise, one number per action dimension."""
        return jax.random.normal(key, (*sample_shape, *self.mean.shape), self.mean.dtype)

    def sample_from(self, noise: Float[Array, "*S a"]) -> Float[Array, "*S a"]:
        """μ + σ·noise."""
        return self.mean + jnp.exp(self.log_std) * noise

    def sample(self, key: PRNGKeyArray) -> Float[Array, "*B a"]:
        """One action for each row."""
        return self.sample_from(self.noise(key))

    def mode(self) -> Float[Array, "*B a"]:
        """The mean."""
        return self.mean

    def log_prob(self, action: ArrayLike) -> Float[Array, "*B"]:
        """Log density of ``action``, in nats, summed over action dimensions."""
        z = (jnp.asarray(action) - self.mean) * jnp.exp(-self.log_std)
        return -jnp.sum(0.5 * jnp.square(z) + self.log_std + 0.5 * math.log(2 * math.pi), axis=-1)

    def entropy(self) -> Float[Array, "*B"]:
        """Differential entropy, in nats; negative for narrow distributions."""
        return jnp.sum(self.log_std + 0.5 * math.log(2 * math.pi * math.e), axis=-1)

    def kl_to(self, other: "DiagonalGaussian") -> Float[Array, "*B"]:
        """Σ [log σq/σp + (σp² + (μp − μq)²) / 2σq² − ½], with s = log σp − log σq.

        Written ½(expm1(2s) − 2s) + ½((μp − μq)/σq)², which keeps its digits near p = q.
        """
        s = self.log_std - other.log_std
        shift = (self.mean - other.mean) * jnp.exp(-other.log_std)
        return 0.5 * jnp.sum(jnp.expm1(2 * s) - 2 * s + jnp.square(shift), axis=-1)

    def fisher_metric(self, tangent: "DiagonalGaussian") -> "DiagonalGaussian":
        """(dμ/σ², 2·d log σ): the Fisher matrix in (mean, log_std) is diagonal."""
        return type(self)(jnp.exp(-2 * self.log_std) * tangent.mean, 2 * tangent.log_std)

    def with_log_std(self, log_std: Float[Array, " B"]) -> "DiagonalGaussian":
        """The same mean with this log σ in every row: the scale that a schedule sets."""
        return type(self)(self.mean, log_std[:, None].astype(self.mean.dtype))
