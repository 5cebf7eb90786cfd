"""Collection as one scan: act, step, store, and count what the metrics need, on the device.

The same steps as ``rollout.HostCollector``, with the same random numbers: of two environments that
agree, one on the host and one here, both see the same rollout.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from klamp.collection.episodes import WINDOW
from klamp.config.settings import Settings
from klamp.envs.device.batched import Ended, Stand, Together
from klamp.envs.device.spaces import to_action
from klamp.mathematics.normalization import Scaling, normalize
from klamp.networks import Model
from klamp.types import Inputs, Rollout


class Going(NamedTuple):
    """What one rollout hands to the next."""

    stand: Stand
    memory: Any
    """[N, size]: what a recurrent policy remembers; None without."""
    first: Any
    """[N]: whether it is to forget that; None without."""


class Totals(NamedTuple):
    """Sums over each running episode, float32."""

    returned: Float[Array, " N"]
    length: Float[Array, " N"]
    discounted: Float[Array, " N"]
    """R_t = γ·R_{t−1} + r_t, which rewards are scaled by."""


class Randomness(NamedTuple):
    """The keys of one iteration's collection."""

    act: PRNGKeyArray
    environment: PRNGKeyArray
    dropout: PRNGKeyArray | None


class Finished(NamedTuple):
    """The episodes that ended in a rollout."""

    number: Array
    returned: Float[Array, " k"]
    """Of the last k, the newest first; what lies beyond ``number`` means nothing."""
    length: Float[Array, " k"]


class Collected(NamedTuple):
    """What a rollout left behind."""

    going: Going
    totals: Totals
    rollout: Rollout
    discounted: Float[Array, "T N"]
    finished: Finished


def begin(together: Together, key: PRNGKeyArray, memory_size: int) -> Going:
    """New episodes in every row, and nothing remembered."""
    stand, rows = together.reset(key), together.num_envs
    if not memory_size:
        return Going(stand, None, None)
    return Going(stand, jnp.zeros((rows, memory_size)), jnp.ones(rows, bool))


def make_collect(model: Model, together: Together, settings: Settings) -> Callable[..., Collected]:
    """The collection of one rollout as a pure function of all that changes between two."""
    length, rows = settings.rollout_length, together.num_envs
    space, bounds = together.action_space, settings.action_bounds

    def collect(
        theta: Float[Array, " n"],
        scaling: Scaling | None,
        going: Going,
        totals: Totals,
        randomness: Randomness,
        log_std: Any,
    ) -> Collected:
        scale = None if log_std is None else jnp.full(rows, log_std, jnp.float32)
        dropout = None
        if randomness.dropout is not None:
            dropout = jax.random.bits(randomness.dropout, (length, rows, 2))

        def inputs(going: Going, dropout_key: Any) -> Inputs:
            stand = going.stand
            seen = stand.observation if scaling is None else normalize(stand.observation, scaling)
            return Inputs(seen, stand.mask, dropout_key, scale, going.memory, going.first)

        some = None if dropout is None else dropout[0]
        distribution, _ = jax.eval_shape(model.act, theta, inputs(going, some))
        noise = distribution.noise(randomness.act, (length,))
        keys = jax.vmap(together.keys, (None, 0))(randomness.environment, jnp.arange(length))

        def step(carry: tuple[Going, Totals], drawn: Any) -> Any:
            (going, totals), (noise_t, keys_t, dropout_t) = carry, drawn
            policy, memory = model.act(theta, inputs(going, dropout_t))
            action = policy.sample_from(noise_t)
            taken = jax.vmap(lambda row: to_action(space, row, bounds))(action)
            stand, after = together.step(keys_t, going.stand, taken)
            ended = after.terminated | after.truncated
            summed = _add(totals, after.reward, settings.discount)
            # What a row of the rollout was like before its action, then what came of it.
            before = (going.stand.observation, going.stand.mask, going.memory, going.first)
            first = None if memory is None else ended
            new = (Going(stand, memory, first), jax.tree.map(lambda x: _unless(ended, x), summed))
            return new, (before, action, after, summed)

        (going, totals), (before, action, after, summed) = jax.lax.scan(
            step, (going, totals), (noise, keys, dropout)
        )
        rollout = _rollout(before, action, after, dropout, log_std)
        finished = last_finished(after.terminated | after.truncated, summed)
        return Collected(going, totals, rollout, summed.discounted, finished)

    return collect


def _rollout(before: Any, action: Any, after: Ended, dropout: Any, log_std: Any) -> Rollout:
    """The rows that the scan stacked, all of them transitions."""
    observation, mask, memory, first = before
    shape = after.reward.shape
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
        log_std=None if log_std is None else jnp.full(shape, log_std, jnp.float32),
        memory=memory,
        first=first,
    )


def _add(totals: Totals, reward: Float[Array, " N"], discount: float) -> Totals:
    """The sums with one more reward."""
    return Totals(
        totals.returned + reward, totals.length + 1, discount * totals.discounted + reward
    )


def _unless(ended: Bool[Array, " N"], sums: Float[Array, " N"]) -> Float[Array, " N"]:
    """Sums of new episodes begin at 0."""
    return jnp.where(ended, 0, sums)


def last_finished(ended: Bool[Array, "T N"], sums: Totals) -> Finished:
    """Returns and lengths of the episodes that ended last, in the order of time, then of rows."""
    flat = ended.reshape(-1)
    order = jnp.where(flat, jnp.arange(flat.size), -1)
    latest, _ = jax.lax.top_k(order, min(WINDOW, flat.size))
    returned, length = sums.returned.reshape(-1), sums.length.reshape(-1)
    return Finished(jnp.sum(flat), returned[latest], length[latest])


def first_non_finite(rollout: Rollout) -> tuple[Array, Array, Array]:
    """What of observation, next observation and reward is not finite first: which, where, value.

    Which is −1 where all is finite; where is the index into the flattened array.
    """
    parts = [jnp.ravel(part) for part in (rollout.observation, rollout.next_observation)]
    parts.append(jnp.ravel(rollout.reward))
    # Bytes are always finite.
    floats = [jnp.issubdtype(part.dtype, jnp.floating) for part in parts]
    bad = [
        ~jnp.isfinite(x) if f else jnp.zeros(1, bool) for x, f in zip(parts, floats, strict=True)
    ]
    any_bad = jnp.stack([jnp.any(part) for part in bad])
    where = jnp.stack([jnp.argmax(part) for part in bad])
    value = jnp.stack([part[i].astype(jnp.float32) for part, i in zip(parts, where, strict=True)])
    which = jnp.argmax(any_bad)
    return jnp.where(jnp.any(any_bad), which, -1), where[which], value[which]


def moments_of(samples: Float[Array, "T N *F"]) -> tuple[Array, Array]:
    """Mean and sum of squared deviations over T and N, in two passes of float32.

    Sums are taken over N and then over T, which keeps their rounding small; what the mean is off
    by is taken back out of the deviations.
    """
    x = samples.astype(jnp.float32)
    about = jnp.mean(jnp.mean(x, axis=1), axis=0)
    centred = x - about
    rest = jnp.mean(jnp.mean(centred, axis=1), axis=0)
    squares = jnp.sum(jnp.sum(jnp.square(centred), axis=1), axis=0)
    return about + rest, squares - x.shape[0] * x.shape[1] * jnp.square(rest)
