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

from klamp.acting import make_act, make_noise
from klamp.config import ActionBounds
from klamp.envs.host import HostEnvironments, Part, Position
from klamp.envs.spaces import action_buffer, to_environment
from klamp.errors import CheckpointError
from klamp.networks import Model
from klamp.normalize import Scaling
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


class Lane(NamedTuple):
    """What happens to rows that are stepped together, at step t of a rollout."""

    send: Callable[[int], None]
    """Act, and have the action begun."""
    receive: Callable[[int], None]
    """Wait for what came of it, and store that."""
    current: Callable[[], np.ndarray]
    """What is to be acted on next."""


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
            make_noise(model, theta, inputs_of(self._buffers())(0), length),
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
        seen = inputs_of(self._buffers())(0)
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
        lanes = [
            self._lane(part, current[part.rows], theta, scaling, noise)
            for part in self.environments.parts
        ]
        for lane in lanes:
            lane.send(0)
        length = len(self._reward)
        for t in range(length):
            check()
            for lane in lanes:
                lane.receive(t)
                if t + 1 < length:
                    lane.send(t + 1)
        shown = [lane.current() for lane in lanes]
        self._current = shown[0] if len(shown) == 1 else np.concatenate(shown)
        return self._buffers()

    def _lane(
        self, part: Part, current: np.ndarray, theta: Array, scaling: Scaling | None, noise: Any
    ) -> "Lane":
        """What happens to a part's rows: act and ``send``, ``receive`` and store.

        Closures over the part's share of the buffers: at some µs a step, even looking up an
        attribute counts.
        """
        rows = part.rows
        share: Rollout = share_of(self._buffers(), rows)
        after_step = (None if x is None else x[1:, rows] for x in (self._memory, self._first))
        memory_after, first_after = after_step
        observation, next_observation, action_taken = share[:3]
        reward, terminated, truncated, weight = share[3:7]
        masks, environments = share.action_mask, self.environments
        single = isinstance(action_taken, np.ndarray)
        inputs = inputs_of(share)
        plain = isinstance(inputs(0), np.ndarray)
        act = self._act(theta, scaling, share_of(noise, rows), inputs(0))
        to_environment, send_on, receive_from = self._to_environment, part.send, part.receive

        def send(t: int) -> None:
            row = observation[t]
            row[:] = current
            if masks is not None:
                masks[t] = jax.tree.map(lambda mask: mask[rows], environments.action_mask)
            action = act(row if plain else inputs(t), t)
            if memory_after is not None:
                action, memory_after[t] = action
            if single:
                action = action_taken[t] = np.asarray(action)
            else:
                action = jax.tree.map(np.asarray, action)
                jax.tree.map(lambda kept, new: kept.__setitem__(t, new), action_taken, action)
            send_on(to_environment(action))

        def receive(t: int) -> None:
            nonlocal current
            after = receive_from()
            next_observation[t] = after.next_observation
            reward[t] = after.reward
            terminated[t] = after.terminated
            truncated[t] = after.truncated
            weight[t] = after.valid
            if first_after is not None:
                # After the row that an autoreset wastes, too, nothing is remembered.
                first_after[t] = after.terminated | after.truncated | ~after.valid
            current = after.observation

        return Lane(send, receive, lambda: current)

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
                seed = self.environments.episode_seed(index, earlier=int(ended.sum()))
                return (
                    f"{name}{f', entry {tuple(rest)},' if rest else ''} of environment {index} at "
                    f"step {t} of the rollout is {buffer[(t, index, *rest)]} (in the episode that "
                    f"`reset(seed={seed})` begins)"
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


def share_of(buffers: Any, rows: slice) -> Any:
    """The rows [T, rows, …] of arrays [T, N, …]."""
    return buffers if rows == slice(None) else jax.tree.map(lambda leaf: leaf[:, rows], buffers)


def inputs_of(buffers: Rollout) -> Callable[[int], Any]:
    """T → what the policy sees then: ``Inputs``, or observations where there is no more."""
    observation = buffers.observation
    conditions = buffers[7:]
    if all(condition is None for condition in conditions):
        return lambda t: observation[t]
    return lambda t: Inputs(observation[t], *(None if x is None else x[t] for x in conditions))


def _alike(saved: np.ndarray | None, own: np.ndarray) -> bool:
    """Whether an array that was read has the form of ours."""
    return saved is not None and (saved.shape, saved.dtype) == (own.shape, own.dtype)
