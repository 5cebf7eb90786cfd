"""One iteration, collect → prepare → update → report, as one compiled program.

For environments written in JAX. What leaves the device is the new state, the report, and sums:
episodes that ended, moments of observations and of discounted returns.
"""

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PRNGKeyArray

from klamp.collection.device import (
    Collected,
    Going,
    Randomness,
    Totals,
    begin,
    first_non_finite,
    make_collect,
    moments_of,
)
from klamp.collection.episodes import add_finished
from klamp.collection.host import never
from klamp.config.run import RunConfig
from klamp.envs.device.batched import Together, from_arrays, to_arrays
from klamp.envs.device.on_host import reset_key
from klamp.envs.host.interface import by_the_run
from klamp.evaluation.policy import TrainedPolicy
from klamp.mathematics.normalization import EPSILON, Moments, merge, merge_moments
from klamp.networks import NetworkBuilder, flatten
from klamp.runs.metrics_log import Metrics
from klamp.runtime.device import on_host
from klamp.runtime.seeding import Purpose, key
from klamp.training.assembly import make_policy, network_maker
from klamp.training.learning import make_learn
from klamp.training.metrics import refused_metrics, report_metrics
from klamp.training.state import (
    TrainState,
    action_std,
    note_refusal,
    observation_scaling,
    scheduled_log_std,
    skip_rollout,
)


class DevicePosition(NamedTuple):
    """Where the environments stand: a reference to arrays of the device, which stay as they are."""

    going: Going

    def arrays(self) -> dict[str, np.ndarray]:
        """By number, in the order of the pytree."""
        return to_arrays(self.going)


class Changed(NamedTuple):
    """What one call of the program returns."""

    theta: Array
    algorithm: Any
    report: Any
    going: Going
    sums: Any
    """What the host reads: ``Sums``."""


class Sums(NamedTuple):
    """What the host reads of a rollout."""

    totals: Totals
    finished: Any
    observation: Any
    """(mean, deviations), where observations are normalised."""
    discounted: Any
    """(mean, deviations), where rewards are."""
    fault: Any
    """``first_non_finite``."""


def make_iterate(learn: Callable[..., Any], collect: Callable[..., Collected]) -> Any:
    """The jitted iteration; ``learn`` is that of ``learning.make_learn``."""

    def iterate(
        theta: Array,
        algorithm: Any,
        going: Going,
        totals: Totals,
        scaling: Any,
        reward_moments: Moments | None,
        randomness: Randomness,
        shuffle: PRNGKeyArray,
        progress: Array,
        log_std: Any,
    ) -> Changed:
        done = collect(theta, scaling, going, totals, randomness, log_std)
        rollout, size = done.rollout, done.rollout.reward.size
        seen = None if scaling is None else moments_of(rollout.observation)
        factor, discounted = jnp.ones((), jnp.float32), None
        if reward_moments is not None:
            # Rewards are scaled by all returns up to and with this rollout's, as on the host.
            discounted = moments_of(done.discounted)
            merged = merge(reward_moments, size, *discounted)
            factor = 1 / jnp.sqrt(merged.deviations / merged.samples + EPSILON)
        fault = first_non_finite(rollout)
        learnt, state, report = learn(theta, algorithm, rollout, scaling, factor, shuffle, progress)
        sums = Sums(done.totals, done.finished, seen, discounted, fault)
        return Changed(learnt, state, report, done.going, sums)

    return jax.jit(iterate)


class FusedIteration:
    """Environments on the device: a rollout and its update are one call."""

    def __init__(
        self,
        config: RunConfig,
        together: Together,
        network: NetworkBuilder | None,
        like: "FusedIteration | None" = None,
    ) -> None:
        """``like`` lends what it compiled, to a run that differs in nothing but its seed."""
        settings = config.settings
        self.config, self.environments = config, together
        self.draw: Callable[[PRNGKeyArray], Any] = (
            network_maker(config, together, network) if like is None else like.draw
        )
        self.theta, model = flatten(self.draw(key(settings.seed, Purpose.INITIALISE)))
        self.model = model if like is None else like.model
        self.reset: Any = (
            jax.jit(lambda key: begin(together, key, settings.recurrent_size))
            if like is None
            else like.reset
        )
        self.iterate: Any = (
            make_iterate(
                make_learn(model, config.algorithm, settings),
                make_collect(model, together, settings),
            )
            if like is None
            else like.iterate
        )
        self._going: Going = self._begin(0)

    def compile(self, state: TrainState) -> float:
        """Compile the program; the seconds it took."""
        began = time.perf_counter()
        if hasattr(self.iterate, "lower"):
            self.iterate = self.iterate.lower(*self.arguments(state)).compile()
        return time.perf_counter() - began

    def advance(
        self, state: TrainState, check: Callable[[], None] = never
    ) -> tuple[TrainState, Metrics]:
        """One iteration: Algorithm 1 of the papers. It is left before the program or not at all."""
        check()
        return self.take(state, self.iterate(*self.arguments(state)))

    def take(self, state: TrainState, changed: Changed) -> tuple[TrainState, Metrics]:
        """The state after an iteration, and its metrics, of what the program returned."""
        config, update = self.config, int(state.update)
        sums: Sums = on_host(changed.sums)
        if int(sums.fault[0]) >= 0:
            # A simulator that showed NaN once may show it for ever: every episode begins anew.
            self._going = self._begin(update + 1)
            words = self._in_words(*(part.item() for part in sums.fault))
            return skip_rollout(state, config.settings.batch), refused_metrics(words)
        metrics = report_metrics(changed.report)
        std = action_std(config, state)
        if std is not None:
            metrics["action_std"] = std
        self._going = changed.going
        state = state._replace(theta=changed.theta, algorithm=changed.algorithm)
        state = counted(state, sums, config.settings.batch)
        return note_refusal(state, str(metrics["outcome"])), metrics

    def position(self) -> DevicePosition:
        """Where the environments stand."""
        return DevicePosition(self._going)

    def restore(self, saved: dict[str, Any]) -> list[str]:
        """Put the environments there again, which is always possible exactly."""
        self._going = from_arrays(self._going, saved, self.config.env)
        return []

    def policy(self, state: TrainState) -> TrainedPolicy:
        """The policy of a state."""
        return make_policy(self.config, self.environments, self.model, state)

    def close(self) -> None:
        """Nothing to free."""

    def _begin(self, number: int) -> Going:
        """New episodes in every row."""
        return self.reset(reset_key(self.config.settings.seed, Purpose.EPISODE, number))

    def arguments(self, state: TrainState) -> tuple[Any, ...]:
        """What the program takes, of a state and of where the environments stand."""
        config, settings, update = self.config, self.config.settings, int(state.update)
        running = (state.episodes.running_return, state.episodes.running_length)
        drops = settings.dropout > 0
        log_std = scheduled_log_std(config, state)
        return (
            state.theta,
            state.algorithm,
            self._going,
            Totals(*(_float32(part) for part in (*running, state.discounted_return))),
            observation_scaling(config, state),
            _float32(state.reward_moments) if settings.normalize_reward else None,
            Randomness(
                key(settings.seed, Purpose.ACT, update),
                key(settings.seed, Purpose.EPISODE, update),
                key(settings.seed, Purpose.DROPOUT, update) if drops else None,
            ),
            key(settings.seed, Purpose.SHUFFLE, update),
            _float32(settings.progress(int(state.step))),
            None if log_std is None else _float32(log_std),
        )

    def _in_words(self, which: int, where: int, value: float) -> str:
        """What was not finite first, and where."""
        settings, space = self.config.settings, self.environments.seen_space
        name = ("observation", "next observation", "reward")[which]
        shape = (settings.rollout_length, settings.num_envs, *(space.shape if which < 2 else ()))
        t, index, *rest = (int(i) for i in np.unravel_index(where, shape))
        entry = f", entry {tuple(rest)}," if rest else ""
        return (
            f"the {name}{entry} of environment {index} at step {t} of the rollout is {value} "
            f"({by_the_run(settings.seed)})"
        )


def counted(state: TrainState, sums: Sums, steps: int) -> TrainState:
    """Counters, episode statistics and moments after an iteration of ``steps``."""
    observation, reward = state.observation_moments, state.reward_moments
    if sums.observation is not None:
        observation = merge_moments(observation, steps, *sums.observation)
    discounted = state.discounted_return
    if sums.discounted is not None:
        reward = merge_moments(reward, steps, *sums.discounted)
        discounted = np.asarray(sums.totals.discounted, np.float64)
    running = [np.asarray(part) for part in (sums.totals.returned, sums.totals.length)]
    count = int(sums.finished.number)
    return state._replace(
        observation_moments=observation,
        reward_moments=reward,
        discounted_return=discounted,
        episodes=add_finished(
            state.episodes, count, *(np.asarray(part) for part in sums.finished[1:]), *running
        ),
        step=state.step + steps,
        update=state.update + 1,
    )


def _float32(tree: Any) -> Any:
    """The numbers of the host as the device takes them."""
    return jax.tree.map(lambda leaf: np.asarray(leaf, np.float32), tree)
