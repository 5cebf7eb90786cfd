"""N copies of an environment written in JAX, stepped together.

Everything here is pure and can be traced: a rollout is a scan over ``BatchedEnvironment.step``.
"""

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from gymnasium import spaces
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from klamp.envs.device.protocol import DeviceEnvironment, DeviceStep
from klamp.envs.host.info_numbers import MOST_NUMBERS
from klamp.envs.spaces.observations import allowed_actions, encoder, policy_observation_space
from klamp.envs.spaces.supported import Space
from klamp.errors import CheckpointError
from klamp.types import PyTree


class BatchedState(NamedTuple):
    """The state of N environments."""

    state: PyTree
    """[N, …]: what the environment calls its state."""
    observation: Any
    """[N, …]: the observation to act on next."""
    mask: Any
    """[N, entries]: the actions allowed next; None where the environment does not tell."""


class DeviceTransition(NamedTuple):
    """What one step of N environments led to, before new episodes began."""

    next_observation: Any
    """[N, …]: the true next observation, the final one where an episode ended."""
    reward: Float[Array, " N"]
    terminated: Bool[Array, " N"]
    truncated: Bool[Array, " N"]
    numbers: dict[str, Float[Array, " N"]]
    """What the step's info tells in numbers, by their names."""


@dataclass(frozen=True)
class BatchedEnvironment:
    """N copies of an environment as pure functions; episodes that end are followed by new ones."""

    environment: DeviceEnvironment
    num_envs: int
    observation_space: Space = field(init=False)
    """The environment's own."""
    action_space: Space = field(init=False)
    """The environment's own."""
    policy_observation_space: spaces.Box = field(init=False)
    """What the policy sees."""

    def __post_init__(self) -> None:
        """Ask for the spaces once: an environment may compute them, which is not to be traced."""
        seen, action = self.environment.observation_space, self.environment.action_space
        object.__setattr__(self, "observation_space", seen)
        object.__setattr__(self, "action_space", action)
        object.__setattr__(self, "policy_observation_space", policy_observation_space(seen))

    def keys(self, key: PRNGKeyArray, t: Any) -> PRNGKeyArray:
        """[2, N]: for step t of a rollout, a key per row for the step and for a new episode."""
        return jax.random.split(jax.random.fold_in(key, t), (2, self.num_envs))

    def reset(self, key: PRNGKeyArray) -> BatchedState:
        """A new episode in each row, each from a key of its own."""
        return self._begin(jax.random.split(key, self.num_envs))

    def step(
        self, keys: PRNGKeyArray, stand: BatchedState, action: Any
    ) -> tuple[BatchedState, DeviceTransition]:
        """One step of every row, by actions of the action space; a new episode where one ended."""
        after = jax.vmap(self._step)(keys[0], stand.state, action)
        led_to, mask = self._see(after.observation)
        reward = jnp.asarray(after.reward, jnp.float32)
        terminated = jnp.asarray(after.terminated, bool)
        truncated = jnp.asarray(after.truncated, bool)
        ended = terminated | truncated
        on = BatchedState(after.state, led_to, mask)

        def begin(on: BatchedState) -> BatchedState:
            new = self._begin(keys[1])
            return jax.tree.map(lambda a, b: jnp.where(_column(ended, a), a, b), new, on)

        # Most steps end no episode, and a reset may cost more than a step.
        stand = jax.lax.cond(jnp.any(ended), begin, lambda on: on, on)
        return stand, DeviceTransition(led_to, reward, terminated, truncated, after.info)

    def _begin(self, keys: PRNGKeyArray) -> BatchedState:
        state, observation = jax.vmap(self._reset)(keys)
        return BatchedState(state, *self._see(observation))

    def _see(self, shown: Any) -> tuple[Array, Array | None]:
        """The observations of N environments as arrays, and their action masks."""
        encode, kind = encoder(self.observation_space), self.policy_observation_space.dtype
        seen = jnp.asarray(shown if encode is None else encode(shown))
        floating = np.issubdtype(kind, np.floating)
        kind = jnp.float32 if floating else jax.dtypes.canonicalize_dtype(kind)
        return seen.astype(kind), allowed_actions(self.observation_space, shown)

    def _reset(self, key: PRNGKeyArray) -> tuple[Any, Any]:
        state, observation = self.environment.reset(key)
        return typed(state), observation

    def _step(self, key: PRNGKeyArray, state: Any, action: Any) -> DeviceStep:
        """A step whose state has the dtypes of the state before it, and an info of numbers."""
        after = self.environment.step(key, state, action)
        like = jax.tree.map(_like, typed(after.state), state)
        return after._replace(state=like, info=_numbers(after.info))


def _numbers(info: Any) -> dict[str, Float[Array, ""]]:
    """Those parts of a step's info that are numbers or flags."""
    told = info.items() if isinstance(info, dict) else ()
    numbers = {
        name: jnp.asarray(value, jnp.float32)
        for name, value in told
        if isinstance(name, str) and not _is_key(value) and _is_number(value)
    }
    return dict(sorted(numbers.items())[:MOST_NUMBERS])


def _is_number(value: Any) -> bool:
    """Whether something is one number or flag, traced or not."""
    if isinstance(value, bool | int | float):
        return True
    return hasattr(value, "dtype") and value.shape == () and value.dtype.kind in "biuf"


def _column(rows: Bool[Array, " N"], leaf: Array) -> Array:
    """One flag per row, in the shape that a leaf is chosen by."""
    return rows.reshape(-1, *(1,) * (leaf.ndim - 1))


def _like(new: Any, old: Any) -> Any:
    return new if _is_key(new) else new.astype(old.dtype)


def _is_key(leaf: Any) -> bool:
    return hasattr(leaf, "dtype") and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def typed(state: object) -> PyTree:
    """A state whose every leaf is an array with a dtype of its own, Python's numbers included.

    Nothing is weakly typed, so that a scan's carry keeps its types.
    """

    def strong(leaf: Any) -> Any:
        if _is_key(leaf):
            return leaf
        return jnp.asarray(leaf, jax.dtypes.canonicalize_dtype(jnp.result_type(leaf)))

    return jax.tree.map(strong, state)


def to_arrays(tree: object) -> dict[str, np.ndarray]:
    """The leaves of a pytree by number, as a checkpoint holds them; keys as their words."""
    leaves = [
        jax.random.key_data(leaf) if _is_key(leaf) else leaf for leaf in jax.tree.leaves(tree)
    ]
    numbers: list[Any] = jax.device_get(leaves)
    return {f"leaf_{number:04d}": np.asarray(leaf) for number, leaf in enumerate(numbers)}


def from_arrays(like: object, saved: dict[str, np.ndarray], env: str) -> PyTree:
    """A pytree of the structure of ``like``; ``CheckpointError`` where the arrays are not its."""
    own = to_arrays(like)
    forms = {name: (array.shape, array.dtype) for name, array in own.items()}
    if forms != {name: (array.shape, array.dtype) for name, array in saved.items()}:
        raise CheckpointError(
            f"The checkpoint does not say where the environments `{env}` of this run stood. It was "
            "saved with other environments, or another version of them; resume with the "
            "config.json and the version that it was saved with."
        )

    def again(array: np.ndarray, leaf: Any) -> Any:
        if _is_key(leaf):
            return jax.random.wrap_key_data(jnp.asarray(array), impl=jax.random.key_impl(leaf))
        return jnp.asarray(array)

    leaves, structure = jax.tree.flatten(like)
    restored = [again(saved[name], leaf) for name, leaf in zip(own, leaves, strict=True)]
    return jax.tree.unflatten(structure, restored)
