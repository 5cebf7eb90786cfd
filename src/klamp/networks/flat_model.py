"""A network as pure functions of one flat vector θ, which the updates work on."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import equinox as eqx
import jax
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, PRNGKeyArray

from klamp.mathematics.normalization import Scaling, normalize
from klamp.networks.actor_critic import ActorCritic
from klamp.types import Inputs


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

    def act(self, theta: Float[Array, " n"], inputs: Inputs) -> tuple[Any, Any]:
        """π_θ for one step of each row, and what to remember (None without a memory)."""
        return self.unravel_policy(theta[: self.policy_end]).act(inputs)

    def initial_state(self, theta: Float[Array, " n"], rows: int) -> Any:
        """The hidden state before the first step of so many rows; None without."""
        return self.unravel_policy(theta[: self.policy_end]).initial_state(rows)

    def next_value(
        self, theta: Float[Array, " n"], inputs: Inputs, following: Inputs
    ) -> Float[Array, " B"]:
        """V_θ of what followed each row."""
        return self.unravel_critic(theta[self.critic_start :]).next_value(inputs, following)

    def step_value(self, theta: Float[Array, " n"], inputs: Inputs) -> Float[Array, " B"]:
        """V_θ for one step of each row by itself."""
        return self.unravel_critic(theta[self.critic_start :]).step_value(inputs)

    @cached_property
    def sample(self) -> Callable[..., tuple[Any, Any]]:
        """Compiled once for all θ: θ, scaling, raw inputs, key → actions, what to remember."""
        return self._decide(lambda distribution, key: distribution.sample(key))

    @cached_property
    def mode(self) -> Callable[..., tuple[Any, Any]]:
        """``sample``, but the likeliest actions, whatever the key."""
        return self._decide(lambda distribution, _: distribution.mode())

    @cached_property
    def describe(self) -> Callable[..., tuple[Any, Any]]:
        """``sample``, but the distribution itself, whatever the key."""
        return self._decide(lambda distribution, _: distribution)

    @cached_property
    def judge(self) -> Callable[..., Array]:
        """Compiled once for all θ: θ, scaling, raw inputs → V."""
        return jax.jit(
            lambda theta, scaling, inputs: self.step_value(theta, _seen(inputs, scaling))
        )

    def _decide(self, choose: Callable[[Any, PRNGKeyArray], Any]) -> Callable[..., Any]:
        def decide(
            theta: Array, scaling: Scaling | None, inputs: Inputs, key: PRNGKeyArray
        ) -> tuple[Any, Any]:
            distribution, memory = self.act(theta, _seen(inputs, scaling))
            return choose(distribution, key), memory

        return jax.jit(decide)

    def policy(self, part: Float[Array, " p"], inputs: Inputs) -> Any:
        """π as a function of the policy's own part of θ: what a trust region constrains."""
        return self.unravel_policy(part).distribution(inputs)

    def critic(self, part: Float[Array, " c"], inputs: Inputs) -> Float[Array, " B"]:
        """V as a function of the critic's own part of θ."""
        return self.unravel_critic(part).value(inputs)


def _seen(inputs: Inputs, scaling: Scaling | None) -> Inputs:
    """The inputs, normalised."""
    if scaling is None:
        return inputs
    return inputs._replace(observation=normalize(inputs.observation, scaling))


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
