"""prepare → update → report: one rollout to a new θ, as one pure function.

It is compiled once per run: nothing that changes between iterations (scaling, progress, keys) is a
constant of the program.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, UInt32

from klamp.algorithms import Context, implementation
from klamp.config.algorithms import AlgorithmConfig
from klamp.config.settings import Settings
from klamp.mathematics.distributions import kl_divergence
from klamp.mathematics.distributions.spread import narrowest
from klamp.mathematics.normalization import Scaling
from klamp.mathematics.objectives import (
    effective_sample_size,
    explained_variance,
    importance_surrogate,
    value_loss,
)
from klamp.mathematics.weighting import scored, weighted_maximum, weighted_mean
from klamp.networks import Model
from klamp.networks.whole_batch import distribution_and_value
from klamp.runtime.seeding import key_of
from klamp.training.prepare import prepare
from klamp.trust_region.report import Outcome
from klamp.types import Batch, PyTree, Rollout, Update, UpdateReport

CLIP_REPORTED = 0.2
"""The ε of the metric `clip_fraction` for algorithms that do not clip."""


def report(
    context: Context,
    theta: Float[Array, " n"],
    batch: Batch,
    update: Update,
    clips: tuple[Array, Array],
) -> UpdateReport:
    """The metrics of the step from ``theta`` to ``update.theta``, over the whole batch."""
    model, shards = context.model, context.settings.shards
    new, value = distribution_and_value(model, update.theta, batch.inputs, shards=shards)
    weight = batch.weight
    old = batch.old_policy()
    log_ratio = new.log_prob(batch.action) - old.log_prob(batch.action)
    ratio = jnp.exp(log_ratio)
    kl = kl_divergence(p=old, q=new)
    explained, error = jnp.full((), jnp.nan), jnp.full((), jnp.nan)
    if batch.value_target is not None:
        explained = explained_variance(batch.old_value, batch.value_target, weight)
        error = value_loss(value, batch.value_target, weight)
    outside = ((ratio < 1 - clips[0]) | (ratio > 1 + clips[1])).astype(ratio.dtype)
    return UpdateReport(
        outcome=update.outcome,
        surrogate_before=weighted_mean(batch.advantage, weight),
        surrogate_after=importance_surrogate(ratio, batch.advantage, weight),
        kl=weighted_mean(kl, weight),
        kl_max=weighted_maximum(kl, weight),
        entropy=weighted_mean(new.entropy(), weight),
        explained_variance=explained,
        value_loss=error,
        clip_fraction=weighted_mean(outside, weight),
        ratio_max=jnp.exp(weighted_maximum(log_ratio, weight)),
        effective_sample_size=effective_sample_size(log_ratio, weight),
        details=update.details | narrowest(new, weight),
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
"""What an update is refused for, in the order of computation."""


def first_non_finite(batch: Batch, update: Update) -> Int[Array, ""]:
    """Which of ``NON_FINITE`` comes first; −1 where all is finite."""
    sources: list[Any] = [
        batch.old_value,
        batch.old_policy().log_prob(batch.action),
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


def refuse_non_finite(theta: Array, state: PyTree, batch: Batch, update: Update) -> Update:
    """The update where all of it is finite; else the old θ and state, with NON_FINITE."""
    first = first_non_finite(batch, update)
    finite = first < 0
    new_theta, new_state = jax.tree.map(
        lambda new, old: jnp.where(finite, new, old), (update.theta, update.state), (theta, state)
    )
    outcome = jnp.where(finite, update.outcome, int(Outcome.NON_FINITE))
    details = update.details | {"non_finite": first}
    return update._replace(theta=new_theta, state=new_state, outcome=outcome, details=details)


def learn_from_batch(
    algorithm: AlgorithmConfig,
    context: Context,
    theta: Float[Array, " n"],
    state: PyTree,
    batch: Batch,
) -> tuple[Float[Array, " n"], PyTree, UpdateReport]:
    """One update from any batch: the new θ and state of the algorithm, and its report.

    ``algorithm`` is a config; ``state`` begins as ``initial_state(algorithm, model, theta)`` gives
    it. The batch need not come from a rollout; what stands under weight 0 is not read. Where
    anything is not finite, θ and state come back bit-identical, and the outcome is NON_FINITE.
    Without a ``value_target`` no critic is learned, and its metrics are NaN. Pure, and fit for
    ``jax.jit(learn_from_batch, static_argnums=0)``.
    """
    batch = scored(batch)
    update = implementation(algorithm).update(algorithm, context, theta, state, batch)
    update = refuse_non_finite(theta, state, batch, update)
    told = report(context, theta, batch, update, clips(update))
    return update.theta, update.state, told


def initial_state(algorithm: AlgorithmConfig, model: Model, theta: Float[Array, " n"]) -> PyTree:
    """What an algorithm carries from update to update, before the first: a pytree of arrays."""
    return implementation(algorithm).init(algorithm, model, theta)


def make_learn(
    model: Model, algorithm: AlgorithmConfig, settings: Settings, devices: int = 1
) -> Any:
    """The jitted iteration: (θ, state, rollout, scaling, factor, key's words, progress) → new.

    ``devices`` will hold the rollout, each the same number of environments.
    """

    def learn(
        theta: Array,
        state: Any,
        rollout: Rollout,
        scaling: Scaling | None,
        reward_factor: Array,
        words: UInt32[Array, "2"],
        progress: Array,
    ) -> tuple[Array, Any, UpdateReport]:
        batch = prepare(model, theta, rollout, scaling, reward_factor, settings)
        context = Context(settings, model, key_of(words), progress, devices)
        return learn_from_batch(algorithm, context, theta, state, batch)

    return jax.jit(learn)
