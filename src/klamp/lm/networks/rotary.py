"""Rotary positions (arXiv:2104.09864): queries and keys are turned by angles of their positions.

The product of a query and a key, each turned by its own position, depends on the distance between
them alone. Axes are named S (sequences), K (tokens), H (heads) and W (a head's width).
"""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from klamp.lm.networks.model_config import DecoderConfig


class Rotation(NamedTuple):
    """Cosine and sine by which queries and keys are turned; the halves of a head are pairs."""

    cosine: Float[Array, "S K 1 W"]
    sine: Float[Array, "S K 1 W"]

    def turn(self, x: Float[Array, "S K H W"]) -> Float[Array, "S K H W"]:
        """Queries or keys, turned by the angles of their positions."""
        first, second = jnp.split(x, 2, axis=-1)
        turned = jnp.concatenate((-second, first), axis=-1)
        return (x * self.cosine + turned * self.sine).astype(x.dtype)


def rotation_at(position: Int[Array, "S K"], config: DecoderConfig, dtype: jnp.dtype) -> Rotation:
    """The rotation of each token, in float32 or, where that is more precise, in ``dtype``."""
    precise = jnp.promote_types(dtype, jnp.float32)
    angle = position[..., None, None] * jnp.asarray(frequencies(config), precise)
    angle = jnp.concatenate((angle, angle), axis=-1)
    return Rotation(jnp.cos(angle), jnp.sin(angle))


def frequencies(config: DecoderConfig) -> Float[np.ndarray, " W/2"]:
    """The angle, in radians, by which each pair of a head turns from one position to the next."""
    exponent = np.arange(0, config.head_width, 2) / config.head_width
    angle = config.rope_theta**-exponent
    if (scaling := config.rope_scaling) is None:
        return angle
    periods = scaling.original_context * angle / (2 * np.pi)
    low, high = scaling.low_frequency_factor, scaling.high_frequency_factor
    kept = np.clip((periods - low) / (high - low), 0, 1)
    return kept * angle + (1 - kept) * angle / scaling.factor
