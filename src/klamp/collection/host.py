"""Collection: act, step, store, and nothing else.

Only actions are computed on the way. Distributions, log-probabilities and values of the whole
rollout follow in one call afterwards (``prepare``), which is faster and makes the ratio of the
first minibatch 1 by construction.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from klamp.collection.policy_call import make_act, make_noise
from klamp.config.choices import ActionBounds
from klamp.envs.host.interface import HostEnvironments, Position
from klamp.envs.spaces.actions import action_buffer, to_environment
from klamp.errors import CheckpointError
from klamp.mathematics.normalization import Scaling
from klamp.networks import Model
from klamp.types import Inputs, Rollout


def never() -> None:
    """Nobody asks to stop."""


class CollectorPosition(NamedTuple):
    """Where collection stands between two iterations."""

    environments: Position
    memory: np.ndarray | None
    """[N, size]: what a recurrent policy remembers."""
    first: np.ndarray | None
    """[N]: whether it is to forget that."""

    def arrays(self) -> dict[str, np.ndarray]:
        """All that is needed to stand there again, by name."""
        arrays = {f"environments.{k}": v for k, v in self.environments.arrays().items()}
        if self.memory is not None and self.first is not None:
            arrays |= {"memory": self.memory, "first": self.first}
        return arrays


class HostCollector:
    """Steps host environments with the current policy into preallocated time-major buffers."""

    def __init__(
        self,
        environments: HostEnvironments,
        model: Model,
        theta: Array,
        length: int,
        action_bounds: ActionBounds = "clip",
        memory_size: int = 0,
        compiled: tuple[Any, Any] | None = None,
    ) -> None:
        """``compiled``: the functions of a collector that differs in nothing but the seed."""
        self.environments = environments
        shape = (length, environments.num_envs)
        space = environments.seen_space
        kind = np.float32 if np.issubdtype(space.dtype, np.floating) else space.dtype
        self._observation = np.zeros((*shape, *space.shape), kind)
        self._next_observation = np.zeros((*shape, *space.shape), kind)
        self._action = action_buffer(environments.action_space, shape)
        self._reward = np.zeros(shape, np.float32)
        self._terminated = np.zeros(shape, bool)
        self._truncated = np.zeros(shape, bool)
        self._weight = np.ones(shape, np.float32)
        self._to_environment = to_environment(environments.action_space, action_bounds)
        self._mask: np.ndarray | None = None
        self._log_std: np.ndarray | None = None
        self._dropout_key: np.ndarray | None = None
        self._current: np.ndarray | None = None
        # One step more than the rollout: the last is what the next rollout starts from.
        longer = (length + 1, environments.num_envs)
        self._memory = np.zeros((*longer, memory_size), np.float32) if memory_size else None
        self._first = np.ones(longer, bool) if memory_size else None
        self.compiled = compiled or (
            make_act(model),
            make_noise(model, theta, self._inputs(0), length),
        )
        """The policy call, and the noise of a rollout."""
        self._act, self._noise = self.compiled

    def compile(
        self,
        theta: Float[Array, " n"],
        scaling: Scaling | None,
        log_std: float | None = None,
        dropout_key: np.ndarray | None = None,
    ) -> Rollout:
        """Compile the policy call, without a step; the buffers, as ``collect`` returns them."""
        self._begin(log_std, dropout_key)
        noise = self._noise(jax.random.key(0))
        seen = self._inputs(0)
        jax.block_until_ready(self._act(theta, scaling, noise, seen)(seen, 0))
        return self._buffers()

    def collect(
        self,
        theta: Float[Array, " n"],
        scaling: Scaling | None,
        key: PRNGKeyArray,
        log_std: float | None = None,
        dropout_key: np.ndarray | None = None,
        *,
        iteration: int = 0,
        check: Callable[[], None] = never,
    ) -> Rollout:
        """T steps of every environment, going on where the last rollout ended.

        The buffers are used again by the next call. ``log_std`` is the scale of the actions where
        a schedule sets it; ``dropout_key`` [T, N, 2] decides which hidden units each transition
        does without. ``check`` is called before every step and may raise, to stop.
        """
        current = self._begin(log_std, dropout_key)
        self.environments.begin(iteration)
        noise = self._noise(key)
        act = self._act(theta, scaling, noise, self._inputs(0))
        step, single = self.environments.step, isinstance(self._action, np.ndarray)
        observation, to_environment = self._observation, self._to_environment
        plain = isinstance(self._inputs(0), np.ndarray)
        for t in range(len(self._reward)):
            check()
            row = observation[t]
            row[:] = current
            if self._mask is not None:
                self._mask[t] = self.environments.action_mask
            action = act(row if plain else self._inputs(t), t)
            if self._memory is not None:
                action, self._memory[t + 1] = action
            if single:
                action = self._action[t] = np.asarray(action)
            else:
                action = jax.tree.map(np.asarray, action)
                jax.tree.map(lambda kept, new, t=t: kept.__setitem__(t, new), self._action, action)
            after = step(to_environment(action))
            self._next_observation[t] = after.next_observation
            self._reward[t] = after.reward
            self._terminated[t] = after.terminated
            self._truncated[t] = after.truncated
            self._weight[t] = after.valid
            if self._first is not None:
                # After the row that an autoreset wastes, too, nothing is remembered.
                self._first[t + 1] = after.terminated | after.truncated | ~after.valid
            current = after.observation
        self._current = current
        return self._buffers()

    def position(self) -> CollectorPosition:
        """Where collection stands; cheap, so it is taken at each iteration."""
        if self._current is None:
            self._reset()
        return CollectorPosition(
            self.environments.position(),
            None if self._memory is None else self._memory[-1].copy(),
            None if self._first is None else self._first[-1].copy(),
        )

    def restore(self, saved: dict[str, np.ndarray]) -> list[str]:
        """Stand there again; what could not be restored exactly, in words."""
        prefix = "environments."
        own = {k.removeprefix(prefix): v for k, v in saved.items() if k.startswith(prefix)}
        seen, problems = self.environments.restore(own)
        if self._memory is not None and self._first is not None:
            memory, first = saved.get("memory"), saved.get("first")
            if not (_alike(memory, self._memory[-1]) and _alike(first, self._first[-1])):
                raise CheckpointError(
                    "The checkpoint does not hold what the recurrent policy of this run "
                    "remembered; resume with the config.json it was saved with."
                )
            self._memory[-1], self._first[-1] = memory, first
        self._start_from(seen)
        return problems

    def start_again(self) -> None:
        """A new episode in every environment: what they last showed is not to be gone on with."""
        self._reset()
        if self._memory is not None and self._first is not None:
            self._memory[-1], self._first[-1] = 0, True

    def first_non_finite(self) -> str | None:
        """The first observation or reward of the rollout that is NaN or infinite, and where."""
        for name, buffer in (
            ("observation", self._observation),
            ("next observation", self._next_observation),
            ("reward", self._reward),
        ):
            finite = np.isfinite(buffer)
            if not finite.all():
                t, index, *rest = (int(i) for i in np.argwhere(~finite)[0])
                ended = self._terminated[t:, index] | self._truncated[t:, index]
                origin = self.environments.origin(index, earlier=int(ended.sum()))
                return (
                    f"{name}{f', entry {tuple(rest)},' if rest else ''} of environment {index} at "
                    f"step {t} of the rollout is {buffer[(t, index, *rest)]} ({origin})"
                )
        return None

    def _reset(self) -> None:
        self._start_from(self.environments.reset())

    def _start_from(self, seen: np.ndarray) -> None:
        self._current = seen
        mask = self.environments.action_mask
        if mask is not None:
            self._mask = np.ones((len(self._reward), *mask.shape), bool)

    def _begin(self, log_std: float | None, dropout_key: np.ndarray | None) -> np.ndarray:
        """What to act on first; the environments are reset where that has not been done."""
        if self._current is None:
            self._reset()
        assert self._current is not None
        self._dropout_key = dropout_key
        if self._memory is not None and self._first is not None:
            self._memory[0], self._first[0] = self._memory[-1], self._first[-1]
        if log_std is not None:
            self._log_std = np.full(self._reward.shape, log_std, np.float32)
        return self._current

    def _inputs(self, t: int) -> Any:
        """What the policy sees at step t: ``Inputs``, or observations where there is no more."""
        conditions = (self._mask, self._dropout_key, self._log_std, self._memory, self._first)
        if all(part is None for part in conditions):
            return self._observation[t]
        return Inputs(
            self._observation[t], *(None if part is None else part[t] for part in conditions)
        )

    def _buffers(self) -> Rollout:
        """The rollout as the buffers hold it."""
        return Rollout(
            observation=self._observation,
            next_observation=self._next_observation,
            action=self._action,
            reward=self._reward,
            terminated=self._terminated,
            truncated=self._truncated,
            weight=self._weight,
            action_mask=self._mask,
            dropout_key=self._dropout_key,
            log_std=self._log_std,
            memory=None if self._memory is None else self._memory[:-1],
            first=None if self._first is None else self._first[:-1],
        )


def _alike(saved: np.ndarray | None, own: np.ndarray) -> bool:
    """Whether an array that was read has the form of ours."""
    return saved is not None and (saved.shape, saved.dtype) == (own.shape, own.dtype)
