"""Settings that change over a run, as functions of its progress from 0 to 1."""

import jax.numpy as jnp
from jaxtyping import Array, Float


def scheduled(start: float, end: float | None, progress: Float[Array, ""]) -> Float[Array, ""]:
    """Linear from ``start`` to ``end`` as ``progress`` goes from 0 to 1; constant without end."""
    return jnp.asarray(start) if end is None else start + (end - start) * progress


def decayed(start: float, decay: float, minimum: float, step: int) -> float:
    """``start`` less ``decay`` for each environment step so far, but at least ``minimum``."""
    return max(start - decay * step, min(minimum, start))
