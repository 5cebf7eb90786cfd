"""The interface of collection, on the host or on the device.

A collector steps environments with the policy as it is and hands back a rollout; what the loop
counts and checks of it is the same on the host and on the device.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import numpy as np
from jaxtyping import Array, Bool, Float, UInt32

from klamp.envs.host.interface import Position
from klamp.mathematics.normalization import Moments, Scaling
from klamp.networks import Model
from klamp.types import HostOrDevice, PyTree, Rollout


def never() -> None:
    """A ``check`` that never interrupts."""


def under(prefix: str, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Those whose names begin with a prefix, by the rest of their names."""
    return {
        name.removeprefix(prefix): array
        for name, array in arrays.items()
        if name.startswith(prefix)
    }


class BehaviorPolicy(NamedTuple):
    """The policy that acts during one rollout, and its randomness."""

    theta: Float[Array, " n"]
    scaling: Scaling | None
    """How observations are normalised; None where they are not."""
    key_words: UInt32[np.ndarray, "2"]
    """Those of the key of the sampled actions."""
    iteration: int = 0
    """The number of the rollout, from which the environments derive their randomness."""
    log_std: float | None = None
    """The scale of the actions where a schedule sets it."""
    dropout_key: UInt32[np.ndarray, "T N 2"] | None = None
    """Decides which hidden units the dropout of each transition removes."""


class Summary(NamedTuple):
    """What the host reads of a rollout."""

    reward: Float[np.ndarray, "T N"]
    ended: Bool[np.ndarray, "T N"]
    """Whether an episode ended with the step, terminated or truncated."""
    valid: Bool[np.ndarray, "T N"]
    """Which rows are transitions."""
    observation: Moments | None
    """Of the observations, where they are normalised."""
    fault: str | None
    """The first observation or reward that is NaN or infinite, and where; None without."""
    terminated: Bool[np.ndarray, "T N"]
    numbers: Mapping[str, Float[np.ndarray, " E"]]
    """What the infos of the E episodes that ended tell in numbers, in the order of
    ``np.nonzero(ended)``; NaN where an episode did not tell one."""
    episode_seed: Callable[[int, int], int | None]
    """The seed of the running episode of an environment, or of one so many episodes earlier; None
    where it has none of its own. It is to be asked before the next rollout."""

    @property
    def steps(self) -> int:
        """Environment steps of the rollout."""
        return int(self.valid.sum())


class Collected(NamedTuple):
    """What one call of a collector returns."""

    rollout: Rollout
    summary: Summary


@runtime_checkable
class Collector(Protocol):
    """Steps environments with a policy, going on where the last rollout ended."""

    def compile(self, behavior: BehaviorPolicy) -> Rollout:
        """Compile what ``collect`` calls, without a step; arrays or shapes like its rollout's."""
        ...

    def collect(self, behavior: BehaviorPolicy, check: Callable[[], None] = never) -> Collected:
        """T steps of every environment. ``check`` is called wherever it can be interrupted."""
        ...

    def position(self) -> Position:
        """Where collection stands; cheap, so that it is taken at each iteration."""
        ...

    def restore(self, saved: dict[str, np.ndarray]) -> list[str]:
        """Restore that position; returns what could not be restored exactly, in words."""
        ...

    def restart(self, iteration: int) -> None:
        """A new episode in every environment, before the iteration of that number."""
        ...

    def close(self) -> None:
        """Free the environments."""
        ...


class NonFinite(NamedTuple):
    """The first number of a rollout that is NaN or infinite."""

    which: Any
    """0, 1, 2: observation, next observation, reward; −1 where all is finite."""
    place: Any
    """Its index in the flattened array."""
    value: Any


def first_non_finite(rollout: Rollout) -> NonFinite:
    """Which of observation, next observation and reward is not finite first, in numpy or in JAX."""
    xp = rollout.reward.__array_namespace__()
    parts: list[HostOrDevice] = [rollout.observation, rollout.next_observation, rollout.reward]
    parts = [part.reshape(-1) for part in parts]
    # Integers are always finite.
    bad = [
        ~xp.isfinite(part) if xp.isdtype(part.dtype, "real floating") else xp.zeros(1, dtype=bool)
        for part in parts
    ]
    found = xp.stack([xp.any(part) for part in bad])
    places = [xp.argmax(part) for part in bad]
    values = [part[place].astype(np.float32) for part, place in zip(parts, places, strict=True)]
    which = xp.argmax(found)
    return NonFinite(
        xp.where(xp.any(found), which, -1), xp.stack(places)[which], xp.stack(values)[which]
    )


def summarize(
    rollout: Rollout,
    non_finite: NonFinite,
    observation: Moments | None,
    origin: Callable[[int, int], str],
    numbers: Mapping[str, Float[np.ndarray, " E"]] = MappingProxyType({}),
    episode_seed: Callable[[int, int], int | None] = lambda index, earlier: None,
    first: int = 0,
) -> Summary:
    """The summary of a rollout that lies where it was collected.

    ``origin(index, earlier)`` says what leads to the running episode of an environment, or to one
    so many episodes earlier. ``first`` is the index of the rollout's first environment among all of
    the run.
    """
    reward, terminated, truncated = (
        np.asarray(part) for part in (rollout.reward, rollout.terminated, rollout.truncated)
    )
    ended = terminated | truncated
    fault = None
    if int(non_finite.which) >= 0:
        name = ("observation", "next observation", "reward")[int(non_finite.which)]
        shape = (rollout.observation, rollout.next_observation, reward)[int(non_finite.which)].shape
        t, index, *rest = (int(i) for i in np.unravel_index(int(non_finite.place), shape))
        entry = f", entry {tuple(rest)}," if rest else ""
        fault = (
            f"the {name}{entry} of environment {first + index} at step {t} of the rollout is "
            f"{float(non_finite.value)} ({origin(index, int(ended[t:, index].sum()))})"
        )
    valid = rollout.transitions()
    return Summary(reward, ended, valid, observation, fault, terminated, numbers, episode_seed)


def empty_hidden_state(model: Model, theta: Float[Array, " n"], rows: int) -> PyTree:
    """Zeros in the form of a policy's hidden state; None where it has none.

    An episode begins with the encoder's own initial state, whatever stands here.
    """
    form = jax.eval_shape(lambda theta: model.initial_state(theta, rows), theta)
    return jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), form)
