"""From a rollout to the batch that an update learns from."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from klamp.config.settings import Settings
from klamp.mathematics.advantages import estimate, standardize
from klamp.mathematics.normalization import CLIP, Scaling, normalize
from klamp.networks import Model
from klamp.networks.whole_batch import distribution_and_value
from klamp.types import Batch, Inputs, Rollout


class RowOrder(NamedTuple):
    """The order of the T·N rows of a batch: by time, or by environment.

    By environment each run of consecutive rows is a sequence in the order of time, as recurrent
    networks need it, and the rows of a shard lie together.
    """

    shape: tuple[int, ...]
    """(T, N)."""
    by_environment: bool

    def rows(self, leaf: Any) -> Array:
        """[T, N, …] as [T·N, …]."""
        ordered = jnp.swapaxes(leaf, 0, 1) if self.by_environment else jnp.asarray(leaf)
        return ordered.reshape(-1, *leaf.shape[2:])

    def steps(self, row: Float[Array, " B"]) -> Float[Array, "T N"]:
        """[T·N] as [T, N]."""
        if not self.by_environment:
            return row.reshape(self.shape)
        return row.reshape(self.shape[::-1]).T


def prepare(
    model: Model,
    theta: Float[Array, " n"],
    rollout: Rollout,
    scaling: Scaling | None,
    reward_factor: Float[Array, ""],
    settings: Settings,
) -> Batch:
    """Rollout [T, N] to Batch [T·N]: old distributions, values, advantages, targets.

    All are computed with the θ and the scaling that collected the rollout. ``reward_factor``
    multiplies rewards where ``settings`` have them normalised. The content of rows of weight 0 does
    not matter.
    """
    by_environment = settings.sequence > 1 or settings.shards > 1
    order = RowOrder(rollout.reward.shape, by_environment)
    rows = jax.tree.map(order.rows, rollout)

    def seen(observation: Any) -> Inputs:
        shown = observation if scaling is None else normalize(observation, scaling)
        conditions = (
            rows.action_mask,
            rows.dropout_key,
            rows.log_std,
            rows.hidden_state,
            rows.episode_start,
        )
        return Inputs(shown, *conditions)

    inputs = seen(rows.observation)
    if rows.dropout_key is None:
        old, value = distribution_and_value(model, theta, inputs, shards=settings.shards)
    else:
        # Targets are of the whole network: a mask in V would be noise in the advantage.
        old = model.distribution(theta, inputs)
        value = model.value(theta, inputs._replace(dropout_key=None))
    bare = inputs._replace(dropout_key=None)
    following = seen(rows.next_observation)._replace(dropout_key=None)
    next_value = value_after(model, theta, bare, following, value, rollout, order)
    reward = rollout.reward
    if settings.normalize_reward:
        reward = jnp.clip(reward * reward_factor, -CLIP, CLIP)
    estimates = estimate(
        reward,
        order.steps(value),
        order.steps(next_value),
        rollout.terminated,
        rollout.truncated,
        rollout.weight,
        discount=settings.discount,
        trace_decay=settings.trace_decay,
        estimator=settings.advantage_estimator,
        target=settings.value_target,
    )
    advantage, target = (order.rows(part) for part in estimates)
    if settings.advantage_normalization == "batch":
        advantage = standardize(advantage, rows.weight)
    return Batch(inputs, rows.action, advantage, old, rows.weight, target, value)


def value_after(
    model: Model,
    theta: Float[Array, " n"],
    inputs: Inputs,
    following: Inputs,
    value: Float[Array, " B"],
    rollout: Rollout,
    order: RowOrder,
) -> Float[Array, " B"]:
    """V of each row's next observation, [T·N]; ``value`` is V of its observation.

    Where rows are ordered by time and each next observation is the observation N rows later, V of
    it is known, and only that of the last N is computed, which saves one critic pass over the
    batch.
    """

    def of_each() -> Array:
        return model.next_value(theta, inputs, following)

    def of_the_last() -> Array:
        last = following._replace(observation=following.observation[-rows:])
        return jnp.concatenate([value[rows:], model.value(theta, last)])

    rows = rollout.reward.shape[1]
    if order.by_environment or any(condition is not None for condition in inputs[1:]):
        return of_each()
    return jax.lax.cond(goes_on(rollout), of_the_last, of_each)


def goes_on(rollout: Rollout) -> Bool[Array, ""]:
    """Whether each row shows the next observation of the row before, wherever V of it is read."""
    shown, led_to = jnp.asarray(rollout.observation)[1:], jnp.asarray(rollout.next_observation)[:-1]
    same = jnp.all(shown == led_to, axis=tuple(range(2, shown.ndim)))
    return jnp.all(same | jnp.asarray(rollout.terminated)[:-1])
