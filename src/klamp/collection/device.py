"""Collection as one scan on the device: act, step, store.

The same steps as ``host.HostCollector``, with the same random numbers: of two environments that
agree, one on the host and one here, both see the same rollout.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray, UInt32

from klamp.collection.collector import (
    BehaviorPolicy,
    Collected,
    NonFinite,
    empty_hidden_state,
    first_non_finite,
    never,
    summarize,
)
from klamp.config.settings import Settings
from klamp.envs.device.batched import BatchedEnvironment, BatchedState, from_arrays, to_arrays
from klamp.envs.host.interface import by_the_run
from klamp.envs.spaces.joined import normalized_in
from klamp.mathematics.normalization import Moments, Scaling, moments_of, normalize
from klamp.networks import Model
from klamp.networks.action_decoder import action_decoder
from klamp.runtime.device import on_host
from klamp.runtime.seeding import EnvironmentSeeds, Purpose, key_of
from klamp.types import Inputs, PyTree, Rollout


class CollectorState(NamedTuple):
    """What is carried from one rollout to the next."""

    environments: BatchedState
    hidden_state: PyTree
    """[N, …]: what a recurrent policy carries to the next step; None without."""
    episode_start: Any
    """[N]: True where the hidden state is reset before the next step; None without."""


class DevicePosition(NamedTuple):
    """Where collection stands: a reference to arrays of the device, which stay as they are."""

    state: CollectorState

    def arrays(self) -> dict[str, np.ndarray]:
        """By number, in the order of the pytree."""
        return to_arrays(self.state)


class DeviceRollout(NamedTuple):
    """What the program of one rollout returns."""

    state: CollectorState
    rollout: Rollout
    observation: Moments | None
    """Of the observations, where they are normalised."""
    non_finite: NonFinite
    numbers: dict[str, Any]
    """[T, N]: what the info of each step tells in numbers, by their names."""


class DeviceCollector:
    """Steps environments written in JAX: a rollout is one call of one compiled program."""

    def __init__(
        self,
        env: str,
        environments: BatchedEnvironment,
        model: Model,
        theta: Float[Array, " n"],
        settings: Settings,
        compiled_by: "DeviceCollector | None" = None,
        first: int = 0,
    ) -> None:
        """``compiled_by``: a collector that differs only in its seed, whose functions are used.

        ``first`` is the index of the first row among all environments of the run.
        """
        self._env, self._seeds = env, EnvironmentSeeds(settings.seed, Purpose.EPISODE, first)
        empty = empty_hidden_state(model, theta, environments.num_envs)

        def begin(key: PRNGKeyArray) -> CollectorState:
            fresh = None if empty is None else jnp.ones(environments.num_envs, bool)
            return CollectorState(environments.reset(key), empty, fresh)

        self.begin: Any = jax.jit(begin) if compiled_by is None else compiled_by.begin
        self.program: Any = (
            jax.jit(make_collect(model, environments, settings))
            if compiled_by is None
            else compiled_by.program
        )
        self._shapes: Any = None if compiled_by is None else compiled_by._shapes
        self.restart(0)

    def compile(self, behavior: BehaviorPolicy) -> Rollout:
        """Compile the program; the shapes of its rollout."""
        arguments = self.arguments(behavior)
        if hasattr(self.program, "lower"):
            lowered = self.program.lower(*arguments)
            self.program = lowered.compile()
            self._shapes = lowered.out_info.rollout
        return self._shapes

    def collect(self, behavior: BehaviorPolicy, check: Callable[[], None] = never) -> Collected:
        """T steps of every environment; interrupted before the program or not at all."""
        check()
        return self.take(self.program(*self.arguments(behavior)))

    def arguments(self, behavior: BehaviorPolicy) -> tuple[Any, ...]:
        """What the program takes."""
        log_std = behavior.log_std
        return (
            behavior.theta,
            behavior.scaling,
            self._state,
            behavior.key_words,
            self._seeds.words_of_steps(behavior.iteration),
            behavior.dropout_key,
            None if log_std is None else np.float32(log_std),
        )

    def take(self, done: DeviceRollout) -> Collected:
        """Go on from where the program left the environments; what it collected."""
        self._state = done.state
        told = (done.observation, done.non_finite, done.numbers)
        observation, non_finite, numbers = on_host(told)
        ended = np.asarray(done.rollout.terminated) | np.asarray(done.rollout.truncated)
        numbers = {name: values[ended] for name, values in numbers.items()}

        def origin(index: int, earlier: int) -> str:
            return by_the_run(self._seeds.seed)

        summary = summarize(
            done.rollout, non_finite, observation, origin, numbers, first=self._seeds.first
        )
        return Collected(done.rollout, summary)

    def position(self) -> DevicePosition:
        """Where the environments stand."""
        return DevicePosition(self._state)

    def restore(self, saved: dict[str, np.ndarray]) -> list[str]:
        """Put the environments there again, which is always possible exactly."""
        self._state = from_arrays(self._state, saved, self._env)
        return []

    def restart(self, iteration: int) -> None:
        """New episodes in every row."""
        reset = self._seeds.of_reset(iteration)
        self._state: CollectorState = self.begin(reset)

    def close(self) -> None:
        """Nothing to free."""


def make_collect(
    model: Model, environments: BatchedEnvironment, settings: Settings
) -> Callable[..., DeviceRollout]:
    """The collection of one rollout as a pure function of all that changes between two."""
    length, rows = settings.rollout_length, environments.num_envs
    decode = action_decoder(environments.action_space, settings.action_bounds)

    def collect(
        theta: Float[Array, " n"],
        scaling: Scaling | None,
        start: CollectorState,
        act_words: UInt32[Array, "2"],
        environment_words: UInt32[Array, "2"],
        dropout: Any,
        log_std: Any,
    ) -> DeviceRollout:
        scale = None if log_std is None else jnp.full(rows, log_std, jnp.float32)

        def inputs(at: CollectorState, dropout_key: Any) -> Inputs:
            seen = at.environments.observation
            seen = seen if scaling is None else normalize(seen, scaling)
            conditions = (at.environments.mask, dropout_key, scale)
            return Inputs(seen, *conditions, at.hidden_state, at.episode_start)

        some = None if dropout is None else dropout[0]
        distribution, _ = jax.eval_shape(model.act, theta, inputs(start, some))
        noise = distribution.noise(key_of(act_words), (length,))
        environment_key = key_of(environment_words)
        keys = jax.vmap(environments.keys, (None, 0))(environment_key, jnp.arange(length))

        def step(at: CollectorState, drawn: Any) -> Any:
            noise_t, keys_t, dropout_t = drawn
            policy, hidden_state = model.act(theta, inputs(at, dropout_t))
            action = policy.sample_from(noise_t)
            stand, after = environments.step(keys_t, at.environments, decode(action))
            ended = None if hidden_state is None else after.terminated | after.truncated
            # First what was seen before the action, then its consequences.
            before = (at.environments.observation, at.environments.mask, at.hidden_state)
            row = (*before, at.episode_start, action, after)
            return CollectorState(stand, hidden_state, ended), row

        last, row = jax.lax.scan(step, start, (noise, keys, dropout))
        rollout = _rollout(row, dropout, log_std)
        moments = None
        if scaling is not None:
            shown = normalized_in(environments.policy_observation_space, rollout.observation)
            moments = moments_of(shown.astype(jnp.float32))
        return DeviceRollout(last, rollout, moments, first_non_finite(rollout), row[-1].numbers)

    return collect


def _rollout(row: Any, dropout: Any, log_std: Any) -> Rollout:
    """The rows that the scan stacked, all of them transitions."""
    observation, mask, hidden_state, episode_start, action, after = row
    return Rollout(
        observation=observation,
        next_observation=after.next_observation,
        action=action,
        reward=after.reward,
        terminated=after.terminated,
        truncated=after.truncated,
        weight=None,
        action_mask=mask,
        dropout_key=dropout,
        log_std=None if log_std is None else jnp.full(after.reward.shape, log_std, jnp.float32),
        hidden_state=hidden_state,
        episode_start=episode_start,
    )
