"""prepare → update → report: one rollout to a new θ, as one pure function.

It is compiled once a run: nothing that changes between iterations (scaling, progress, keys) is a
constant of the program.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from klamp.advantages import estimate, standardize
from klamp.algorithms import implementation
from klamp.config import AlgorithmConfig, Settings
from klamp.distributions import kl_divergence
from klamp.networks import Model
from klamp.normalize import CLIP, Scaling, normalize
from klamp.surrogate import (
    effective_sample_size,
    explained_variance,
    importance_ratio,
    importance_surrogate,
    value_loss,
)
from klamp.trust_region.step import Outcome
from klamp.types import Batch, Inputs, Rollout, Update, UpdateReport
from klamp.weighting import scored, weighted_maximum, weighted_mean

CLIP_REPORTED = 0.2
"""The ε of the metric `clip_fraction` for algorithms that do not clip."""


class RowOrder(NamedTuple):
    """How the T·N rows of a batch lie: by time, or, for recurrent networks, by environment.

    By environment each run of consecutive rows is a sequence in the order of time.
    """

    shape: tuple[int, ...]
    """(T, N)."""
    in_sequences: bool

    def rows(self, leaf: Any) -> Array:
        """[T, N, …] as [T·N, …]."""
        ordered = jnp.swapaxes(leaf, 0, 1) if self.in_sequences else jnp.asarray(leaf)
        return ordered.reshape(-1, *leaf.shape[2:])

    def steps(self, row: Float[Array, " B"]) -> Float[Array, "T N"]:
        """[T·N] as [T, N]."""
        if not self.in_sequences:
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
    multiplies rewards where ``settings`` have them normalised.
    """
    order = RowOrder(rollout.reward.shape, in_sequences=settings.sequence > 1)
    rows = jax.tree.map(order.rows, rollout)

    def seen(observation: Any) -> Inputs:
        shown = observation if scaling is None else normalize(observation, scaling)
        conditions = (rows.action_mask, rows.dropout_key, rows.log_std, rows.memory, rows.first)
        return Inputs(shown, *conditions)

    inputs = seen(rows.observation)
    if rows.dropout_key is None:
        old, value = model.unravel(theta).distribution_and_value(inputs)
    else:
        # Targets are of the whole network: a mask in V would be noise in the advantage.
        old = model.distribution(theta, inputs)
        value = model.value(theta, inputs._replace(dropout_key=None))
    bare = inputs._replace(dropout_key=None)
    following = seen(rows.next_observation)._replace(dropout_key=None)
    next_value = value_after(model, theta, bare, following, value, rollout)
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
    batch = Batch(inputs, rows.action, advantage, old, rows.weight, target, value)
    return scored(batch)


def value_after(
    model: Model,
    theta: Float[Array, " n"],
    inputs: Inputs,
    following: Inputs,
    value: Float[Array, " B"],
    rollout: Rollout,
) -> Float[Array, " B"]:
    """V of what followed each row, [T·N]; ``value`` is V of each row itself.

    Where the rollout goes on from what each row led to, that is the value of the row after it, and
    only the last N are left to compute: a pass of the critic over the batch less.
    """

    def of_each() -> Array:
        return model.next_value(theta, inputs, following)

    def of_the_last() -> Array:
        last = following._replace(observation=following.observation[-rows:])
        return jnp.concatenate([value[rows:], model.value(theta, last)])

    rows = rollout.reward.shape[1]
    if any(condition is not None for condition in inputs[1:]):
        return of_each()
    return jax.lax.cond(goes_on(rollout), of_the_last, of_each)


def goes_on(rollout: Rollout) -> Bool[Array, ""]:
    """Whether each row shows what the one before led to, wherever V of that is read."""
    shown, led_to = jnp.asarray(rollout.observation)[1:], jnp.asarray(rollout.next_observation)[:-1]
    same = jnp.all(shown == led_to, axis=tuple(range(2, shown.ndim)))
    return jnp.all(same | jnp.asarray(rollout.terminated)[:-1])


def report(
    model: Model,
    theta: Float[Array, " n"],
    batch: Batch,
    update: Update,
    clips: tuple[Array, Array],
) -> UpdateReport:
    """What the whole batch says of the step from ``theta`` to ``update.theta``."""
    new, value = model.unravel(update.theta).distribution_and_value(batch.inputs)
    weight = batch.weight
    ratio = importance_ratio(new.log_prob(batch.action), batch.old.log_prob(batch.action))
    kl = kl_divergence(p=batch.old, q=new)
    outside = ((ratio < 1 - clips[0]) | (ratio > 1 + clips[1])).astype(ratio.dtype)
    return UpdateReport(
        outcome=update.outcome,
        surrogate_before=weighted_mean(batch.advantage, weight),
        surrogate_after=importance_surrogate(ratio, batch.advantage, weight),
        kl=weighted_mean(kl, weight),
        kl_max=weighted_maximum(kl, weight),
        entropy=weighted_mean(new.entropy(), weight),
        explained_variance=explained_variance(batch.old_value, batch.value_target, weight),
        value_loss=value_loss(value, batch.value_target, weight),
        clip_fraction=weighted_mean(outside, weight),
        ratio_max=weighted_maximum(ratio, weight),
        effective_sample_size=effective_sample_size(ratio, weight),
        details=update.details,
    )


def clips(update: Update) -> tuple[Array, Array]:
    """ε below and above 1, as the update clipped; ``CLIP_REPORTED`` where it did not."""
    lower = update.details.get("clip", jnp.asarray(CLIP_REPORTED))
    return lower, update.details.get("clip_upper", lower)


NON_FINITE = (
    "the critic's value",
    "the log-probability of an action",
    "the advantage",
    "the value target",
    "the new parameters, so the gradient",
    "the algorithm's state, so the gradient",
)
"""What an update is refused for, in the order in which data flows."""


def first_non_finite(batch: Batch, update: Update) -> Int[Array, ""]:
    """Which of ``NON_FINITE`` comes first; −1 where all is finite."""
    sources: list[Any] = [
        batch.old_value,
        batch.old.log_prob(batch.action),
        batch.advantage,
        batch.value_target,
        update.theta,
        update.state,
    ]
    finite = jnp.stack([_all_finite(source) for source in sources])
    return jnp.where(jnp.all(finite), -1, jnp.argmin(finite))


def _all_finite(tree: Any) -> Bool[Array, ""]:
    """Whether every number of a tree is finite."""
    leaves = [jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves(tree) if leaf.size]
    return jnp.all(jnp.stack([jnp.asarray(True), *leaves]))


def refuse_non_finite(theta: Array, state: Any, batch: Batch, update: Update) -> Update:
    """The update itself where all of it is finite; else what was before, as NON_FINITE."""
    first = first_non_finite(batch, update)
    finite = first < 0
    new_theta, new_state = jax.tree.map(
        lambda new, old: jnp.where(finite, new, old), (update.theta, update.state), (theta, state)
    )
    outcome = jnp.where(finite, update.outcome, int(Outcome.NON_FINITE))
    details = update.details | {"non_finite": first}
    return update._replace(theta=new_theta, state=new_state, outcome=outcome, details=details)


def make_learn(model: Model, algorithm: AlgorithmConfig, settings: Settings) -> Any:
    """The jitted iteration: (θ, state, rollout, scaling, reward factor, key, progress) → new."""
    parts = implementation(algorithm)

    def learn(
        theta: Array,
        state: Any,
        rollout: Rollout,
        scaling: Scaling | None,
        reward_factor: Array,
        key: PRNGKeyArray,
        progress: Array,
    ) -> tuple[Array, Any, UpdateReport]:
        batch = prepare(model, theta, rollout, scaling, reward_factor, settings)
        update = parts.update(algorithm, settings, model, theta, state, batch, key, progress)
        update = refuse_non_finite(theta, state, batch, update)
        return update.theta, update.state, report(model, theta, batch, update, clips(update))

    return jax.jit(learn)
