"""An algorithm of your own: CISPO, which clips the importance weight and not the update.

PPO's clip ends the gradient of a sample whose ratio r has left 1 ± ε. CISPO (arXiv:2506.13585,
eq. 4 and 5) goes on learning from it, by a weight that is clipped and not differentiated:

    E[sg(clip(r, 0, 1 + ε))·Â·log π(a|s)]

A frozen dataclass with ``init`` and ``update`` is all; networks, collection, advantages, metrics,
checkpoints and resuming are klamp's: ``python examples/own_algorithm.py``.
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp

import klamp
from klamp.algorithms.minibatch_epochs import descend
from klamp.mathematics import adam
from klamp.mathematics.objectives import importance_ratio, log_prob_surrogate, value_loss
from klamp.mathematics.schedules import scheduled


@dataclass(frozen=True)
class CISPO:
    """Clipped importance sampling policy optimisation, with a critic beside it."""

    clip: float = 0.2
    # Nothing bounds this update: ten passes, as PPO makes, move the policy by several nats.
    epochs: int = 4
    minibatch_size: int = 64
    learning_rate: float = 1e-3
    final_learning_rate: float = 0.0
    max_gradient_norm: float = 0.5

    def init(self, model, theta):
        return adam.init(theta)

    def loss(self, network, part, old_log_prob):
        policy, value = network.distribution_and_value(part.inputs)
        log_prob = policy.log_prob(part.action)
        ratio = jnp.minimum(importance_ratio(log_prob, old_log_prob), 1 + self.clip)
        weighed = jax.lax.stop_gradient(ratio) * part.advantage
        surrogate = log_prob_surrogate(log_prob, weighed, part.weight)
        return value_loss(value, part.value_target, part.weight) - surrogate

    def update(self, context, theta, state, batch):
        step_size = scheduled(self.learning_rate, self.final_learning_rate, context.progress)
        theta, state, _ = descend(
            self.loss, self, context, theta, state, batch, step_size=step_size
        )
        details = {"learning_rate": step_size}
        return klamp.Update(theta, state, jnp.asarray(int(klamp.Outcome.ACCEPTED)), details)


if __name__ == "__main__":
    klamp.train("CartPole-v1", CISPO(), steps=100_000)
