"""x − log(1 + x): what Kullback–Leibler divergences are sums of."""

import jax.numpy as jnp
from jaxtyping import Array, Float

TERMS = 9
"""Terms of the series: below |x| = 0.2 the rest is less than the last digit of a float64."""


def log1p_excess(x: Float[Array, "*S"]) -> Float[Array, "*S"]:
    """X − log(1 + x) ≥ 0 for x > −1, to the last digits also near x = 0, where it is x²/2.

    With w = x/(2 + x), log(1 + x) = 2(w + w³/3 + w⁵/5 + …) and x − 2w = xw, so that near 0 the
    excess is xw − 2w³(1/3 + w²/5 + …): nothing cancels.
    """
    near = jnp.abs(x) < 0.2
    small = jnp.where(near, x, 0)
    w = small / (2 + small)
    square = jnp.square(w)
    series = jnp.zeros_like(w)
    for k in reversed(range(TERMS)):
        series = series * square + 1 / (2 * k + 3)
    large = jnp.where(near, 1, x)
    return jnp.where(near, small * w - 2 * w * square * series, large - jnp.log1p(large))
