"""A policy and a critic, and what they share."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
from jaxtyping import Array, Float

from klamp.networks.layers import Dense
from klamp.networks.recurrent import RecurrentEncoder, encoded_step
from klamp.types import Inputs, PyTree


class Actor(eqx.Module):
    """Inputs → features → distribution."""

    torso: Callable[[Inputs], Array]
    head: Callable[[Array], Any]

    def __call__(self, inputs: Inputs) -> Any:
        """One distribution per row."""
        return self.head(self.torso(inputs))


class Critic(eqx.Module):
    """Inputs → features → value."""

    torso: Callable[[Inputs], Array]
    dense: Dense

    def __call__(self, inputs: Inputs) -> Float[Array, "*B"]:
        """One value per row."""
        return self.dense(self.torso(inputs))[:, 0]


class NoEncoder(eqx.Module):
    """The encoder of separate networks: it shares nothing."""

    def __call__(self, inputs: Inputs) -> Inputs:
        """Pass the inputs on."""
        return inputs


class Trunk(eqx.Module):
    """The encoder of a shared network: hidden layers that policy and critic both use."""

    torso: Callable[[Inputs], Array]

    def __call__(self, inputs: Inputs) -> Inputs:
        """The inputs, with features in the place of the observation."""
        return inputs._replace(observation=self.torso(inputs))


class ActorCritic(eqx.Module):
    """A policy and a critic, and what they share.

    The order of the fields is the layout of θ: [actor | encoder | critic]. The policy owns the
    first two parts and the critic the last two, so which parameters move the policy follows from
    the structure. To use networks of your own, supply the three callables. (In a part of the
    network the others are None, which is why they are not typed as callables.)
    """

    actor: Any
    """Encoded inputs to a distribution."""
    encoder: Any
    """Inputs to inputs whose observation is a shared feature vector."""
    critic: Any
    """Encoded inputs to values."""
    trainable: PyTree = eqx.field(static=True, default=eqx.is_inexact_array)
    """What θ is made of, as ``flatten`` takes it; by default all arrays of real numbers."""

    def distribution(self, inputs: Inputs) -> Any:
        """π(·|inputs), one row per sample."""
        return conditioned(self.actor(self.encoder(inputs)), inputs)

    def act(self, inputs: Inputs) -> tuple[PyTree, PyTree]:
        """π(·|inputs) for one step of each row, and the hidden state after it (None without)."""
        encoded, hidden_state = encoded_step(self.encoder, inputs)
        return conditioned(self.actor(encoded), inputs), hidden_state

    def initial_state(self, rows: int) -> PyTree:
        """The hidden state before the first step of so many rows; None without."""
        recurrent = isinstance(self.encoder, RecurrentEncoder)
        return self.encoder.initial_state(rows) if recurrent else None

    def value(self, inputs: Inputs) -> Float[Array, "*B"]:
        """V(inputs), one row per sample."""
        return self.critic(self.encoder(inputs))

    def step_value(self, inputs: Inputs) -> Float[Array, "*B"]:
        """V for one step of each row by itself."""
        return self.critic(encoded_step(self.encoder, inputs)[0])

    def next_value(self, inputs: Inputs, following: Inputs) -> Float[Array, "*B"]:
        """V of each row's next observation, with the hidden state after the row."""
        if not isinstance(self.encoder, RecurrentEncoder):
            return self.value(following)
        after = self.encoder.hidden_states(inputs)
        return self.step_value(
            following._replace(hidden_state=after, episode_start=inputs.episode_start & False)
        )

    def distribution_and_value(self, inputs: Inputs) -> tuple[Any, Float[Array, "*B"]]:
        """Both, encoding once."""
        encoded = self.encoder(inputs)
        return conditioned(self.actor(encoded), inputs), self.critic(encoded)


def conditioned(distribution: Any, inputs: Inputs) -> Any:
    """The distribution as the inputs condition it: by an action mask, by a scheduled scale.

    Applied here and not in the heads, so that it holds for every actor, a user's own included.
    """
    if inputs.action_mask is not None:
        distribution = distribution.masked(inputs.action_mask)
    if inputs.log_std is not None:
        distribution = distribution.with_log_std(inputs.log_std)
    return distribution
