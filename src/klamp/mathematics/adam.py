"""Adam on a flat vector (arXiv:1412.6980), and the clipping of a gradient by its norm.

``init`` and ``update`` have the signatures of optax's ``GradientTransformation``, and the module is
an ``Optimizer`` itself; a transformation of optax that finds a direction (``scale_by_adam``,
``scale_by_lion``, …) stands in its place. ``update`` returns a direction d, and the parameters
become θ − step size·d. optax's own ``adam(learning_rate)`` includes step size and sign, so it is
used with a step size of −1.
"""

from collections.abc import Callable
from typing import NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from klamp.types import PyTree

FIRST_DECAY, SECOND_DECAY = 0.9, 0.999
"""β₁ and β₂, of the paper."""

EPSILON = 1e-5
"""As in the implementations that the published results come from, not the paper's own 1e-8."""


@runtime_checkable
class Optimizer(Protocol):
    """From gradients to directions: this module, or a transformation of optax."""

    @property
    def init(self) -> Callable[[PyTree], PyTree]:
        """The state before the first step."""
        ...

    @property
    def update(self) -> Callable[[PyTree, PyTree, PyTree], tuple[PyTree, PyTree]]:
        """From gradient, state and parameters to the direction and the next state."""
        ...


class AdamState(NamedTuple):
    """Adam's state between two steps."""

    steps: Int[Array, ""]
    """t: the number of steps so far."""
    first: Float[Array, " n"]
    """m: the running mean of gradients."""
    second: Float[Array, " n"]
    """v: the running mean of their squares."""


def init(params: Float[Array, " n"]) -> AdamState:
    """The state before the first step: both means are zero."""
    # From NumPy, for which no program is compiled.
    zeros = np.zeros(params.shape, params.dtype)
    steps, first, second = jax.device_put((np.zeros((), np.int32), zeros, zeros))
    return AdamState(steps, first, second)


def update(
    gradient: Float[Array, " n"], state: AdamState, params: Float[Array, " n"] | None = None
) -> tuple[Float[Array, " n"], AdamState]:
    """The direction ``m̂/(√v̂ + ε)`` and the next state (Algorithm 1).

    In the order that the end of the paper's section 2 gives, ``α_t·m/(√v + ε·√(1 − β₂ᵗ))`` with
    ``α_t = √(1 − β₂ᵗ)/(1 − β₁ᵗ)``: the same number by one division per entry instead of three.
    ``params`` are not read.
    """
    steps = state.steps + 1
    t = steps.astype(gradient.dtype)
    first = FIRST_DECAY * state.first + (1 - FIRST_DECAY) * gradient
    second = SECOND_DECAY * state.second + (1 - SECOND_DECAY) * jnp.square(gradient)
    scale = jnp.sqrt(1 - SECOND_DECAY**t)
    step = scale / (1 - FIRST_DECAY**t)
    return step * first / (jnp.sqrt(second) + EPSILON * scale), AdamState(steps, first, second)


def clip_norm(gradient: Float[Array, " n"], maximum: float) -> Float[Array, " n"]:
    """The gradient, shortened to a Euclidean norm of ``maximum`` where it is longer.

    NaN where the norm overflows (from 1e19 on), so that a lost direction is not taken for a
    gradient of zero. Scaling first would keep the direction, but one more pass over every
    minibatch's gradient costs 2 % of the time.
    """
    norm = jnp.sqrt(jnp.sum(jnp.square(gradient)))
    lost = jnp.where(jnp.isinf(norm), jnp.nan, maximum / norm)
    return gradient * jnp.where(norm < maximum, 1, lost)
