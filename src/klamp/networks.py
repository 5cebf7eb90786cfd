"""Policies and critics as Equinox modules, and the flat vector θ that the updates work on.

A module takes ``Inputs`` with one row a sample and returns one row a sample. Layers multiply whole
batches; nothing is vmapped over samples.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from gymnasium import spaces
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, PRNGKeyArray

from klamp.config import Settings
from klamp.distributions import Categorical, DiagonalGaussian
from klamp.types import Inputs

ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "tanh": jnp.tanh,
    "relu": jax.nn.relu,
    "gelu": jax.nn.gelu,
    "silu": jax.nn.silu,
    "elu": jax.nn.elu,
}


class Dense(eqx.Module):
    """x ↦ xW + b, with W orthogonal times ``gain`` at first and b = 0."""

    weight: Float[Array, "i o"]
    bias: Float[Array, " o"]

    def __init__(self, size_in: int, size_out: int, *, gain: float, key: PRNGKeyArray):
        self.weight = jax.nn.initializers.orthogonal(gain)(key, (size_in, size_out))
        self.bias = jnp.zeros(size_out)

    def __call__(self, x: Float[Array, "B i"]) -> Float[Array, "B o"]:
        """One row in, one row out."""
        return x @ self.weight + self.bias


class MLP(eqx.Module):
    """Hidden layers: the observation, flattened, through dense layers and activations."""

    layers: tuple[Dense, ...]
    activation: Callable[[Array], Array] = eqx.field(static=True)

    def __init__(
        self, size_in: int, hidden_sizes: Sequence[int], activation: str, *, key: PRNGKeyArray
    ):
        sizes = (size_in, *hidden_sizes)
        keys = jax.random.split(key, max(len(hidden_sizes), 1))
        self.layers = tuple(
            Dense(sizes[i], sizes[i + 1], gain=2**0.5, key=keys[i])
            for i in range(len(hidden_sizes))
        )
        self.activation = ACTIVATIONS[activation]

    def __call__(self, inputs: Inputs) -> Float[Array, "B h"]:
        """Features of each row."""
        x = inputs.observation
        x = x.reshape(x.shape[0], -1)
        for layer in self.layers:
            x = self.activation(layer(x))
        return x


class CategoricalHead(eqx.Module):
    """Features to the logits of n actions."""

    dense: Dense

    def __init__(self, size_in: int, actions: int, *, key: PRNGKeyArray):
        # Gain 0.01: the first policy is almost uniform, so that early data covers all actions.
        self.dense = Dense(size_in, actions, gain=0.01, key=key)

    def __call__(self, features: Float[Array, "B h"]) -> Categorical:
        """One distribution a row."""
        return Categorical(self.dense(features))


class GaussianHead(eqx.Module):
    """Features to the mean of a Gaussian whose log σ is a parameter, the same in every state."""

    dense: Dense
    log_std: Float[Array, " a"]

    def __init__(
        self, size_in: int, dimensions: int, *, initial_log_std: float, key: PRNGKeyArray
    ):
        self.dense = Dense(size_in, dimensions, gain=0.01, key=key)
        self.log_std = jnp.full(dimensions, initial_log_std, jnp.float32)

    def __call__(self, features: Float[Array, "B h"]) -> DiagonalGaussian:
        """One distribution a row."""
        return DiagonalGaussian(self.dense(features), self.log_std)


class Actor(eqx.Module):
    """Inputs → features → distribution."""

    torso: Callable[[Inputs], Array]
    head: Callable[[Array], Any]

    def __call__(self, inputs: Inputs) -> Any:
        """One distribution a row."""
        return self.head(self.torso(inputs))


class Critic(eqx.Module):
    """Inputs → features → value."""

    torso: Callable[[Inputs], Array]
    dense: Dense

    def __call__(self, inputs: Inputs) -> Float[Array, " B"]:
        """One value a row."""
        return self.dense(self.torso(inputs))[:, 0]


class Nothing(eqx.Module):
    """The encoder of separate networks: it shares nothing."""

    def __call__(self, inputs: Inputs) -> Inputs:
        """Pass the inputs on."""
        return inputs


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

    def distribution(self, inputs: Inputs) -> Any:
        """π(·|inputs), one row a sample."""
        return self.actor(self.encoder(inputs))

    def value(self, inputs: Inputs) -> Float[Array, " B"]:
        """V(inputs), one row a sample."""
        return self.critic(self.encoder(inputs))

    def distribution_and_value(self, inputs: Inputs) -> tuple[Any, Float[Array, " B"]]:
        """Both, encoding once."""
        encoded = self.encoder(inputs)
        return self.actor(encoded), self.critic(encoded)


@dataclass(frozen=True)
class Model:
    """An ``ActorCritic`` as pure functions of one flat vector θ = [actor | encoder | critic]."""

    unravel: Callable[[Float[Array, " n"]], ActorCritic]
    """θ as the module."""
    unravel_policy: Callable[[Float[Array, " p"]], ActorCritic]
    """θ[:policy_end] as a module whose critic is absent."""
    unravel_critic: Callable[[Float[Array, " c"]], ActorCritic]
    """θ[critic_start:] as a module whose actor is absent."""
    policy_end: int
    """Actor and encoder end here."""
    critic_start: int
    """Encoder and critic start here."""

    @property
    def shared(self) -> bool:
        """Whether policy and critic have parameters in common."""
        return self.critic_start < self.policy_end

    def distribution(self, theta: Float[Array, " n"], inputs: Inputs) -> Any:
        """π_θ(·|inputs)."""
        return self.policy(theta[: self.policy_end], inputs)

    def value(self, theta: Float[Array, " n"], inputs: Inputs) -> Float[Array, " B"]:
        """V_θ(inputs)."""
        return self.critic(theta[self.critic_start :], inputs)

    def policy(self, part: Float[Array, " p"], inputs: Inputs) -> Any:
        """π as a function of the policy's own part of θ: what a trust region constrains."""
        return self.unravel_policy(part).distribution(inputs)

    def critic(self, part: Float[Array, " c"], inputs: Inputs) -> Float[Array, " B"]:
        """V as a function of the critic's own part of θ."""
        return self.unravel_critic(part).value(inputs)


def flatten(network: ActorCritic) -> tuple[Float[Array, " n"], Model]:
    """The flat θ of a network, and the network as functions of it."""
    arrays, static = eqx.partition(network, eqx.is_inexact_array)

    def part(*names: str) -> tuple[Array, Callable[[Array], ActorCritic]]:
        def choose(whole: ActorCritic) -> ActorCritic:
            kept = {name: getattr(whole, name) for name in names}
            return ActorCritic(**({"actor": None, "encoder": None, "critic": None} | kept))

        flat, unravel = ravel_pytree(choose(arrays))
        rest = choose(static)
        return flat, lambda theta: eqx.combine(unravel(theta), rest)

    theta, unravel = part("actor", "encoder", "critic")
    policy, unravel_policy = part("actor", "encoder")
    critic, unravel_critic = part("encoder", "critic")
    model = Model(unravel, unravel_policy, unravel_critic, policy.size, theta.size - critic.size)
    return theta, model


def action_head(space: Any, size_in: int, *, initial_log_std: float, key: PRNGKeyArray) -> Any:
    """The head whose distribution covers a Gymnasium action space."""
    match space:
        case spaces.Discrete():
            return CategoricalHead(size_in, int(space.n), key=key)
        case spaces.Box():
            size = int(np.prod(space.shape))
            return GaussianHead(size_in, size, initial_log_std=initial_log_std, key=key)
        case _:
            raise TypeError(f"No distribution covers actions of {space}.")


def build_network(
    observation_size: int, action_space: Any, settings: Settings, *, key: PRNGKeyArray
) -> ActorCritic:
    """Separate actor and critic with equal hidden layers, as ``settings`` describes them."""
    keys = jax.random.split(key, 4)
    features = (*(observation_size,), *settings.hidden_sizes)[-1]

    def torso(key: PRNGKeyArray) -> MLP:
        return MLP(observation_size, settings.hidden_sizes, settings.activation, key=key)

    head = action_head(
        action_space, features, initial_log_std=settings.initial_log_std, key=keys[1]
    )
    critic = Critic(torso(keys[2]), Dense(features, 1, gain=1.0, key=keys[3]))
    return ActorCritic(Actor(torso(keys[0]), head), Nothing(), critic)
