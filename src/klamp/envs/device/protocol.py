"""What an environment written in JAX is."""

from typing import Any, NamedTuple, Protocol, runtime_checkable

import gymnasium
from gymnasium.vector import VectorEnv
from jaxtyping import PRNGKeyArray

from klamp.envs.spaces.supported import Space
from klamp.types import PyTree


class DeviceStep(NamedTuple):
    """What one step of one environment leads to."""

    state: PyTree
    """The state after it; a pytree of the structure, shapes and dtypes that ``reset`` returned."""
    observation: Any
    """What the state shows: of the final state where the episode ended."""
    reward: Any
    """One number."""
    terminated: Any
    """Whether the state is terminal: nothing follows, and its value is 0."""
    truncated: Any
    """Whether the episode is cut off here (a time limit): what follows counts, and is estimated by
    V."""
    info: Any = None
    """Numbers by their names, such as whether the task is solved: those of an episode's last step
    are averaged per update. None where nothing is told."""


@runtime_checkable
class DeviceEnvironment(Protocol):
    """One environment as two pure functions, fit for ``jax.jit`` and ``jax.vmap``.

    It does not reset itself: after an end, whatever its kind, klamp begins a new episode by
    ``reset`` with a key of its own. What is random derives from the keys alone, and the state is
    all that the next step depends on, so a checkpoint of the state is one of the environment.
    An observation space with the key ``action_mask`` tells the allowed actions, as Gymnasium's do.
    """

    @property
    def observation_space(self) -> Space:
        """A Gymnasium space."""
        ...

    @property
    def action_space(self) -> Space:
        """A Gymnasium space."""
        ...

    def reset(self, key: PRNGKeyArray) -> tuple[PyTree, PyTree]:
        """The state that an episode begins in, and what it shows."""
        ...

    def step(self, key: PRNGKeyArray, state: PyTree, action: Any) -> DeviceStep:
        """One step, by an action of the action space."""
        ...


def is_device_environment(value: object) -> bool:
    """Whether an object follows the protocol; Gymnasium's environments step themselves."""
    own = isinstance(value, gymnasium.Env | VectorEnv | type)
    return not own and isinstance(value, DeviceEnvironment)
