"""prepare → update → report for completions: one batch of them to a new θ, as one pure function."""

from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from klamp.algorithms import Context, critic_fit
from klamp.config.algorithms import AlgorithmConfig
from klamp.lm.config.settings import Settings
from klamp.lm.learning.advantages import aggregation_scale, group_advantage, without_spread
from klamp.lm.learning.reference import adapted, charged
from klamp.lm.networks.model import LanguageActor, ValueHead, inputs_of
from klamp.lm.tokens.sequences import Completions, limited, transitions
from klamp.mathematics import adam
from klamp.mathematics.advantages import gae, standardize
from klamp.mathematics.distributions import kl_divergence
from klamp.mathematics.weighting import scored, weighted_maximum, weighted_mean, zeroed
from klamp.networks import Model
from klamp.training.learning import clips, learn_from_batch, refuse_non_finite, report
from klamp.trust_region.report import Outcome
from klamp.types import Batch, Reference, Update, UpdateReport


class Learnt(NamedTuple):
    """What an iteration's learning leads to."""

    theta: Float[Array, " n"]
    algorithm: Any
    """The algorithm's state."""
    reference_coefficient: Float[Array, ""]
    """β of the next update."""
    report: UpdateReport
    """``details`` have what only language-model runs tell."""


def prepare(
    model: Model,
    theta: Float[Array, " n"],
    reference: Float[Array, " n"],
    completions: Completions,
    coefficient: Float[Array, ""],
    settings: Settings,
) -> Batch:
    """Completions to a batch [S, A]: old distribution, values, advantages, targets.

    All are computed with the θ that sampled them. ``reference`` is the θ that the run began with.
    """
    truncation = settings.truncation
    if not settings.critic and truncation == "bootstrap":
        truncation = "end"
    network = model.unravel(theta)
    actor: LanguageActor = network.actor
    played = limited(completions, truncation)
    played = played.with_features(actor.read(played.tokens, played.valid, played.positions))
    inputs, weight = inputs_of(played), played.weight
    old = actor.choose(inputs.observation.features)
    held, reward = None, played.reward
    if settings.reference_coefficient > 0:
        far = model.distribution(reference, inputs)
        if settings.reference_kl == "reward":
            reward = charged(reward, old, far, played.action, coefficient, weight)
        else:
            held = Reference(far, jnp.broadcast_to(coefficient, weight.shape))
    earned = played._replace(reward=reward)
    if settings.critic:
        value, advantage = critic_advantage(network.critic, earned, settings)
        target = advantage + value
        if settings.advantage_normalization == "batch":
            advantage = standardize(advantage, weight)
    else:
        value = target = None
        score = jnp.sum(zeroed(reward, weight), axis=1)
        baseline = settings.advantage
        assert baseline != "gae"
        advantage = group_advantage(score, settings.generations, baseline)
        advantage = zeroed(jnp.broadcast_to(advantage[:, None], weight.shape), weight)
    advantage = advantage * aggregation_scale(weight, settings.aggregation)
    return Batch(inputs, played.action, advantage, old, weight, target, value, held)


def critic_advantage(
    critic: ValueHead, completions: Completions, settings: Settings
) -> tuple[Float[Array, "S A"], Float[Array, "S A"]]:
    """V at each action, and GAE over each sequence's actions."""
    features, final = completions.features, completions.final_features
    assert features is not None
    assert final is not None
    value = critic.of(features)
    steps = transitions(completions, value, critic.of(final))
    rates = {"discount": settings.discount, "trace_decay": settings.trace_decay}
    advantage = gae(*steps, **rates)
    return jnp.swapaxes(steps.value, 0, 1), jnp.swapaxes(advantage, 0, 1)


def learn(
    algorithm: AlgorithmConfig,
    context: Context,
    theta: Float[Array, " n"],
    state: Any,
    reference: Float[Array, " n"],
    completions: Completions,
    coefficient: Float[Array, ""],
    what: Literal["all", "critic"],
) -> Learnt:
    """One update from completions; with ``what`` = "critic" of V alone (a warm-up)."""
    model, settings = context.model, context.settings
    assert isinstance(settings, Settings)
    batch = scored(prepare(model, theta, reference, completions, coefficient, settings))
    if what == "all":
        new, state, told = learn_from_batch(algorithm, context, theta, state, batch)
    else:
        new, told = fit_critic(context, theta, batch)
    assert batch.weight is not None
    more = {
        "kl_sequence": told.kl * mean_length(batch.weight),
        "ratio_error": ratio_error(completions, batch),
        "groups_without_spread": idle_groups(completions, settings),
    }
    if settings.reference_coefficient > 0:
        distribution = model.distribution(new, batch.inputs)
        away = kl_divergence(p=distribution, q=model.distribution(reference, batch.inputs))
        more |= {
            "kl_reference": weighted_mean(away, batch.weight),
            "reference_coefficient": coefficient,
        }
        if settings.reference_target is not None and what == "all":
            more_kl = more["kl_reference"]
            coefficient = adapted(coefficient, more_kl, settings.reference_target)
    return Learnt(new, state, coefficient, told._replace(details=told.details | more))


def fit_critic(
    context: Context, theta: Float[Array, " n"], batch: Batch
) -> tuple[Float[Array, " n"], UpdateReport]:
    """V fitted to its targets by the critic's own settings; the policy stays as it is."""
    moments = adam.init(theta[context.model.critic_start :])
    new, _ = critic_fit.fit(context, theta, moments, batch)
    update = Update(new, (), jnp.asarray(int(Outcome.ACCEPTED)), {})
    update = refuse_non_finite(theta, (), batch, update)
    return update.theta, report(context, theta, batch, update, clips(update))


def mean_length(weight: Float[Array, "S A"]) -> Float[Array, ""]:
    """Tokens that are learnt from, for each completion that has any."""
    completions = jnp.sum(jnp.any(weight > 0, axis=1))
    return jnp.sum(zeroed(weight, weight)) / jnp.maximum(completions, 1)


def ratio_error(completions: Completions, batch: Batch) -> Float[Array, ""]:
    """The largest |log π(a) as sampled − log π(a) as learnt from|, in nats; NaN where not known.

    Rounding makes it some 1e-6. More says that sampling and learning are not of one policy: another
    temperature, mask, position or precision.
    """
    if completions.log_prob is None:
        return jnp.full((), jnp.nan)
    learnt = batch.old_policy().log_prob(batch.action)
    return weighted_maximum(jnp.abs(completions.log_prob - learnt), batch.weight)


def idle_groups(completions: Completions, settings: Settings) -> Float[Array, ""]:
    """The share of prompts whose completions all earned the same; NaN where each has one."""
    if settings.generations == 1:
        return jnp.full((), jnp.nan)
    score = jnp.sum(zeroed(completions.reward, completions.weight), axis=1)
    return jnp.mean(without_spread(score, settings.generations).astype(jnp.float32))


def make_learn(algorithm: AlgorithmConfig, settings: Settings, devices: int = 1) -> Any:
    """The jitted iteration: (what, model, θ, state, reference θ, completions, β, key, progress).

    The model is an argument: what is frozen of it is no constant of the program. ``devices`` will
    hold the completions, each the same number.
    """

    def run(
        what: Literal["all", "critic"],
        model: Model,
        theta: Array,
        state: Any,
        reference: Array,
        completions: Completions,
        coefficient: Array,
        key: PRNGKeyArray,
        progress: Array,
    ) -> Learnt:
        context = Context(settings, model, key, progress, devices)
        parts = (theta, state, reference, completions, coefficient)
        return learn(algorithm, context, *parts, what)

    return jax.jit(run, static_argnums=0)
