"""Collection: act, step, store, and nothing else.

Only actions are computed on the way. Distributions, log-probabilities and values of the whole
rollout follow in one call afterwards (``prepare``), which is faster and makes the ratio of the
first minibatch 1 by construction.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

from klamp.collection.collector import (
    BehaviorPolicy,
    Collected,
    empty_hidden_state,
    first_non_finite,
    never,
    summarize,
    under,
)
from klamp.collection.policy_call import make_act, make_noise
from klamp.config.settings import Settings
from klamp.envs.host.info_numbers import as_columns
from klamp.envs.host.interface import HostEnvironments, Position
from klamp.envs.spaces.actions import action_buffer
from klamp.envs.spaces.joined import normalized_in
from klamp.errors import CheckpointError
from klamp.mathematics.normalization import kept_moments
from klamp.networks import Model
from klamp.networks.action_decoder import action_decoder
from klamp.types import Inputs, PyTree, Rollout


class CollectorPosition(NamedTuple):
    """Where collection stands between two iterations."""

    environments: Position
    hidden_state: PyTree
    """[N, …]: what a recurrent policy carries to the next step; None without."""
    episode_start: np.ndarray | None
    """[N]: True where the hidden state is reset before the next step."""

    def arrays(self) -> dict[str, np.ndarray]:
        """All that is needed to stand there again, by name."""
        arrays = {f"environments.{k}": v for k, v in self.environments.arrays().items()}
        if self.episode_start is not None:
            arrays["episode_start"] = self.episode_start
            arrays |= _named(self.hidden_state)
        return arrays


class HostCollector:
    """Steps host environments with the current policy into preallocated time-major buffers."""

    def __init__(
        self,
        environments: HostEnvironments,
        model: Model,
        theta: PyTree,
        settings: Settings,
        compiled_by: "HostCollector | None" = None,
        first: int = 0,
    ) -> None:
        """``compiled_by``: a collector that differs only in its seed, whose functions are used.

        ``first`` is the index of the first environment among all of the run.
        """
        self._first = first
        self.environments = environments
        length = settings.rollout_length
        shape = (length, environments.num_envs)
        space = environments.policy_observation_space
        kind = np.float32 if np.issubdtype(space.dtype, np.floating) else space.dtype
        self._observation = np.zeros((*shape, *space.shape), kind)
        self._next_observation = np.zeros((*shape, *space.shape), kind)
        self._action = action_buffer(environments.action_space, shape)
        self._reward = np.zeros(shape, np.float32)
        self._terminated = np.zeros(shape, bool)
        self._truncated = np.zeros(shape, bool)
        self._weight = np.ones(shape, np.float32)
        self._decode = action_decoder(environments.action_space, settings.action_bounds)
        self._mask: np.ndarray | None = None
        self._log_std: np.ndarray | None = None
        self._dropout_key: np.ndarray | None = None
        self._current: np.ndarray | None = None
        self._ended: list[Mapping[int, Mapping[str, float]]] = []
        # One step more than the rollout: the last is what the next rollout starts from.
        start = empty_hidden_state(model, theta, environments.num_envs)
        self._hidden_state = jax.tree.map(
            lambda leaf: np.zeros((length + 1, *leaf.shape), leaf.dtype), start
        )
        self._episode_start = None if start is None else np.ones((length + 1, shape[1]), bool)
        self.compiled: tuple[Any, Any] = (
            (make_act(model), make_noise(model, theta, self._inputs(0), length))
            if compiled_by is None
            else compiled_by.compiled
        )
        """The policy call, and the noise of a rollout."""
        self._act, self._noise = self.compiled

    def compile(self, behavior: BehaviorPolicy) -> Rollout:
        """Compile the policy call, without a step; the buffers, as ``collect`` returns them."""
        self._begin(behavior)
        noise = self._noise(behavior.key_words)
        seen = self._inputs(0)
        act = self._act(behavior.theta, behavior.scaling, noise, seen)
        jax.block_until_ready(act(seen, 0))
        return self._buffers()

    def collect(self, behavior: BehaviorPolicy, check: Callable[[], None] = never) -> Collected:
        """T steps of every environment, going on where the last rollout ended.

        The buffers are used again by the next call. ``check`` is called before every step and may
        raise, to stop.
        """
        current = self._begin(behavior)
        self.environments.begin(behavior.iteration)
        noise = self._noise(behavior.key_words)
        act = self._act(behavior.theta, behavior.scaling, noise, self._inputs(0))
        step, decode = self.environments.step, self._decode
        single = isinstance(self._action, np.ndarray)
        plain = isinstance(self._inputs(0), np.ndarray)
        self._ended = []
        for t in range(len(self._reward)):
            check()
            row = self._observation[t]
            row[:] = current
            if self._mask is not None:
                self._mask[t] = self.environments.action_mask
            action = act(row if plain else self._inputs(t), t)
            if self._episode_start is not None:
                action, hidden_state = action
                _put(self._hidden_state, t + 1, hidden_state)
            action = np.asarray(action) if single else jax.tree.map(np.asarray, action)
            _put(self._action, t, action)
            after = step(decode(action))
            self._next_observation[t] = after.next_observation
            self._reward[t] = after.reward
            self._terminated[t] = after.terminated
            self._truncated[t] = after.truncated
            self._weight[t] = after.valid
            if after.numbers is not None:
                self._ended.append(after.numbers)
            if self._episode_start is not None:
                # The extra step that NEXT_STEP autoreset inserts is no part of an episode either.
                self._episode_start[t + 1] = after.terminated | after.truncated | ~after.valid
            current = after.observation
        self._current = current
        return self._collected(normalized=behavior.scaling is not None)

    def position(self) -> CollectorPosition:
        """Where collection stands; cheap, so it is taken at each iteration."""
        if self._current is None:
            self._reset()
        start = self._episode_start
        return CollectorPosition(
            self.environments.position(),
            jax.tree.map(lambda leaf: leaf[-1].copy(), self._hidden_state),
            None if start is None else start[-1].copy(),
        )

    def restore(self, saved: dict[str, np.ndarray]) -> list[str]:
        """Restore that position; returns what could not be restored exactly, in words."""
        seen, problems = self.environments.restore(under("environments.", saved))
        if self._episode_start is not None:
            last = jax.tree.map(lambda leaf: leaf[-1], self._hidden_state)
            expected = _named(last) | {"episode_start": self._episode_start[-1]}
            for name, array in expected.items():
                if not _alike(saved.get(name), array):
                    raise CheckpointError(
                        "The checkpoint does not hold the hidden state of the recurrent policy of "
                        "this run; resume with the config.json it was saved with."
                    )
                array[:] = saved[name]
        self._start_from(seen)
        return problems

    def restart(self, iteration: int) -> None:
        """A new episode in every environment: the last observations are discarded."""
        self._reset()
        if self._episode_start is not None:
            _put(self._hidden_state, -1, jax.tree.map(lambda leaf: 0 * leaf[0], self._hidden_state))
            self._episode_start[-1] = True

    def close(self) -> None:
        """Free the environments."""
        self.environments.close()

    def _collected(self, *, normalized: bool) -> Collected:
        """The rollout in the buffers, and its summary."""
        rollout = self._buffers()
        moments = None
        if normalized:
            shown = normalized_in(self.environments.policy_observation_space, self._observation)
            moments = kept_moments(shown, rollout.transitions())

        def origin(index: int, earlier: int) -> str:
            return self.environments.origin(index, earlier=earlier)

        # Only copies that we reset ourselves know the seed of each episode.
        seed_of = getattr(self.environments, "episode_seed", None)

        def episode_seed(index: int, earlier: int) -> int | None:
            return None if seed_of is None else seed_of(index, earlier=earlier)

        finite, numbers = first_non_finite(rollout), as_columns(self._ended)
        return Collected(
            rollout,
            summarize(rollout, finite, moments, origin, numbers, episode_seed, self._first),
        )

    def _reset(self) -> None:
        self._start_from(self.environments.reset())

    def _start_from(self, seen: np.ndarray) -> None:
        self._current = seen
        mask = self.environments.action_mask
        if mask is not None:
            self._mask = np.ones((len(self._reward), *mask.shape), bool)

    def _begin(self, behavior: BehaviorPolicy) -> np.ndarray:
        """The first observation to act on; environments that were never reset are reset."""
        if self._current is None:
            self._reset()
        assert self._current is not None
        self._dropout_key = behavior.dropout_key
        if self._episode_start is not None:
            _put(self._hidden_state, 0, jax.tree.map(lambda leaf: leaf[-1], self._hidden_state))
            self._episode_start[0] = self._episode_start[-1]
        if behavior.log_std is not None:
            self._log_std = np.full(self._reward.shape, behavior.log_std, np.float32)
        return self._current

    def _inputs(self, t: int) -> Any:
        """What the policy gets at step t: ``Inputs``, or observations where they are all."""
        conditions = (self._mask, self._dropout_key, self._log_std, self._episode_start)
        if all(part is None for part in conditions):
            return self._observation[t]
        mask, dropout_key, log_std, start = (None if x is None else x[t] for x in conditions)
        hidden_state = jax.tree.map(lambda leaf: leaf[t], self._hidden_state)
        return Inputs(self._observation[t], mask, dropout_key, log_std, hidden_state, start)

    def _buffers(self) -> Rollout:
        """The rollout as the buffers hold it."""
        start = self._episode_start
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
            hidden_state=jax.tree.map(lambda leaf: leaf[:-1], self._hidden_state),
            episode_start=None if start is None else start[:-1],
        )


def _put(buffers: Any, t: int, rows: Any) -> None:
    """Write one step into buffers of its structure."""
    if isinstance(buffers, np.ndarray):
        buffers[t] = rows
        return
    for buffer, row in zip(jax.tree.leaves(buffers), jax.tree.leaves(rows), strict=True):
        buffer[t] = row


def _named(hidden_state: Any) -> dict[str, np.ndarray]:
    """The arrays of a hidden state by number, as a checkpoint holds them."""
    leaves = jax.tree.leaves(hidden_state)
    return {f"hidden_state.{number}": leaf for number, leaf in enumerate(leaves)}


def _alike(saved: np.ndarray | None, own: np.ndarray) -> bool:
    """Whether an array that was read has the form of ours."""
    return saved is not None and (saved.shape, saved.dtype) == (own.shape, own.dtype)
