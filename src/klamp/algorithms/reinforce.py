"""REINFORCE: ∇ log π·(R − b), one gradient step per batch (Williams 1992).

R is the Monte-Carlo return. The baseline b is 0, the mean return of the batch, or a learned V(s_t),
fitted by ``critic.fit`` after the step. Adam and the clipping of the gradient's norm take the place
of the plain step.

Rollouts have a fixed length, so they end in the middle of episodes. With V as the baseline, V also
stands for the part of the return that was not seen. Without it R ends with the rollout: the
gradient is an unbiased one of the reward up to that end, which is why ``rollout_length`` should
exceed the length of an episode.

With a shared trunk the fit of V moves the policy too, and nothing bounds that: for a shared trunk
use A2C, which trains both together.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from klamp.algorithms import critic_fit
from klamp.algorithms.context import Context
from klamp.config.algorithms import REINFORCE
from klamp.mathematics import adam
from klamp.mathematics.advantages import standardize
from klamp.mathematics.objectives import entropy_bonus, log_prob_surrogate, reference_penalty
from klamp.mathematics.weighting import weighted_mean
from klamp.networks import ActorCritic, Model
from klamp.networks.gradient import flat_gradient
from klamp.trust_region.report import Outcome
from klamp.types import Batch, PyTree, Update


class State(NamedTuple):
    """What REINFORCE carries from update to update."""

    moments: adam.AdamState
    """Adam's, of the policy."""
    critic: PyTree
    """Adam's, of the critic; absent where nothing uses V."""


def init(config: REINFORCE, model: Model, theta: Float[Array, " n"]) -> State:
    """Adam's moments at zero."""
    moments = adam.init(theta)
    fitted = config.baseline == "value"
    return State(moments, adam.init(theta[model.critic_start :]) if fitted else None)


def loss(network: ActorCritic, batch: Batch, config: REINFORCE) -> Float[Array, ""]:
    """−E[log π·(R − b)] − c₂·H."""
    new = network.distribution(batch.inputs)
    surrogate = log_prob_surrogate(new.log_prob(batch.action), batch.advantage, batch.weight)
    surrogate -= reference_penalty(new, batch.reference, batch.weight)
    return -surrogate - config.entropy_coefficient * entropy_bonus(new.entropy(), batch.weight)


def update(
    config: REINFORCE,
    context: Context,
    theta: Float[Array, " n"],
    state: State,
    batch: Batch,
) -> Update:
    """One step of Adam on the whole batch, then the regression of V where it is the baseline."""
    weighed = batch
    if config.baseline == "batch-mean":
        centred = batch.advantage - weighted_mean(batch.advantage, batch.weight)
        weighed = batch._replace(advantage=centred)
    elif config.baseline == "value" and context.settings.advantage_normalization == "minibatch":
        # The batch is the only minibatch.
        weighed = batch._replace(advantage=standardize(batch.advantage, batch.weight))
    gradient = flat_gradient(loss, context.model, theta, weighed, config, devices=context.devices)
    clipped = adam.clip_norm(gradient, config.max_gradient_norm)
    direction, moments = adam.update(clipped, state.moments, theta)
    theta = theta - config.learning_rate * direction
    fitted = state.critic
    if config.baseline == "value":
        theta, fitted = critic_fit.fit(context, theta, state.critic, batch)
    details = {"gradient_norm": jnp.linalg.norm(gradient)}
    outcome = jnp.asarray(int(Outcome.ACCEPTED))
    return Update(theta, State(moments, fitted), outcome, details)
