"""What ``observations`` and ``spaces`` do on the host, traced, for one row: to and from the policy.

``see`` makes an observation of any supported space the array that the networks take;
``to_action`` makes of an action as the policy samples it one of the environment.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from gymnasium import spaces
from jaxtyping import Array

from klamp.config.choices import ActionBounds
from klamp.envs.spaces.observations import MASK_KEY, masks_in_observation, without_mask


def see(space: Any, observation: Any) -> tuple[Array, Array | None]:
    """One observation as an array of the seen space, and the mask it carries (None: no mask)."""
    proper, value, mask = without_mask(space), observation, None
    if masks_in_observation(space):
        given = jax.tree.leaves(observation[MASK_KEY])
        mask = jnp.concatenate([jnp.ravel(part) for part in given]).astype(bool)
        only = [name for name, part in space.spaces.items() if part is proper]
        value = observation[only[0]] if only else observation
    if isinstance(proper, spaces.Box):
        floats = np.issubdtype(proper.dtype, np.floating)
        return jnp.asarray(value, jnp.float32 if floats else _kind(proper)), mask
    return _vector(proper, value), mask


def _vector(space: Any, value: Any) -> Array:
    """A part as numbers: choices one-hot, bytes divided by 255, parts one after another."""
    match space:
        case spaces.Discrete():
            return jax.nn.one_hot(jnp.asarray(value) - int(space.start), int(space.n))
        case spaces.MultiDiscrete():
            chosen = (jnp.asarray(value) - np.asarray(space.start, np.int32)).ravel()
            sizes = [int(n) for n in space.nvec.ravel()]
            return jnp.concatenate([jax.nn.one_hot(chosen[i], n) for i, n in enumerate(sizes)])
        case spaces.Dict():
            parts = [_vector(part, value[name]) for name, part in space.spaces.items()]
            return jnp.concatenate(parts)
        case spaces.Tuple():
            pairs = zip(space.spaces, value, strict=True)
            return jnp.concatenate([_vector(part, inner) for part, inner in pairs])
        case _:
            is_bytes = isinstance(space, spaces.Box) and space.dtype == np.uint8
            return jnp.ravel(value).astype(jnp.float32) * np.float32(1 / 255 if is_bytes else 1)


def to_action(space: Any, action: Any, bounds: ActionBounds = "clip") -> Any:
    """One sampled action as the environment's ``step`` takes it; see ``spaces.to_environment``."""
    match space:
        case spaces.Discrete():
            return action.astype(_kind(space)) + int(space.start)
        case spaces.MultiDiscrete():
            shaped = action.astype(_kind(space)).reshape(space.shape)
            return shaped + np.asarray(space.start, _kind(space))
        case spaces.MultiBinary():
            return action.astype(_kind(space)).reshape(space.shape)
        case spaces.Dict():
            pairs = zip(space.spaces.items(), action, strict=True)
            return {name: to_action(part, inner, bounds) for (name, part), inner in pairs}
        case spaces.Tuple():
            pairs = zip(space.spaces, action, strict=True)
            return tuple(to_action(part, inner, bounds) for part, inner in pairs)
        case _:
            return _within(space, action.reshape(space.shape), bounds)


def _within(space: spaces.Box, action: Array, bounds: ActionBounds) -> Array:
    """A number a dimension, brought within the bounds: cut off, or by tanh."""
    kind = _kind(space)
    low, high = np.asarray(space.low, kind), np.asarray(space.high, kind)
    if bounds != "clip":
        middle, half = high / 2 + low / 2, high / 2 - low / 2
        # From log-odds the sigmoid is a tanh of half of them.
        slope = 1 if bounds == "tanh" else 0.5
        action = jnp.asarray(middle) + half * jnp.tanh(slope * action)
    return jnp.minimum(jnp.maximum(action, low), high).astype(kind)


def _kind(space: Any) -> Any:
    """The dtype of a space as JAX has it: 64 bits become 32."""
    return jax.dtypes.canonicalize_dtype(space.dtype)
