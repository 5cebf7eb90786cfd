"""A power of two to divide by, so that squares neither overflow nor underflow."""

import jax.numpy as jnp
from jaxtyping import Array, Float


def power_of_two(size: Float[Array, ""]) -> Float[Array, ""]:
    """A power of two of the order of ``size``; 1 where there is none (zero, NaN or infinity).

    Dividing by it changes no digit, so that what is computed in such units is the same to the bit
    for every size that did not over- or underflow before.
    """
    usable = (size > 0) & jnp.isfinite(size)
    # The reciprocal must be a normal number too: a division may be compiled to a product with it.
    size = jnp.minimum(jnp.where(usable, size, 1), 1 / jnp.finfo(size.dtype).tiny)
    mantissa = jnp.frexp(size)[0]  # in [½, 1): the quotient is exact
    return size / (2 * mantissa)
