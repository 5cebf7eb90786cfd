"""A network as pure functions of one flat vector θ, which the updates work on."""

from collections.abc import Callable
from dataclasses import replace
from functools import cached_property
from typing import Any

import equinox as eqx
import jax
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, PRNGKeyArray

from klamp.mathematics.normalization import Scaling, normalize
from klamp.networks.actor_critic import ActorCritic
from klamp.types import Inputs, PyTree

PARTS = ("actor", "encoder", "critic")
"""The fields of an ``ActorCritic``, in the order of θ."""


class Section(eqx.Module):
    """A part of a network as a function of its own part of θ."""

    parameters: Callable[[Float[Array, " m"]], ActorCritic] = eqx.field(static=True)
    """The part of θ as the module's trained arrays, all else absent."""
    assemble: Callable[[ActorCritic, ActorCritic], ActorCritic] = eqx.field(static=True)
    """Trained arrays and the frozen ones as the module."""
    frozen: ActorCritic
    """The arrays of the module that are not trained, all else absent."""

    def network(self, parameters: ActorCritic) -> ActorCritic:
        """The module with these trained arrays."""
        return self.assemble(parameters, self.frozen)

    def __call__(self, flat: Float[Array, " m"]) -> ActorCritic:
        """The module with these numbers for its trained arrays."""
        return self.network(self.parameters(flat))


class Model(eqx.Module):
    """An ``ActorCritic`` as pure functions of one flat vector θ = [actor | encoder | critic].

    It is a pytree whose leaves are the arrays that are not trained (none, unless ``flatten`` is
    told so): an argument of ``jax.jit``, it carries them into the compiled program; closed over, it
    writes them into the program as constants. Its methods are pytrees as well, so that
    ``trust_region_step(model.policy, …)`` takes them as arguments. Inputs are whatever the network
    takes: ``Inputs`` in a run, anything in a batch of your own.
    """

    unravel: Section
    """θ to the module."""
    unravel_policy: Section
    """θ[:policy_end] to a module whose critic is absent."""
    unravel_critic: Section
    """θ[critic_start:] to a module whose actor is absent."""
    policy_end: int = eqx.field(static=True)
    """Actor and encoder end here."""
    critic_start: int = eqx.field(static=True)
    """Encoder and critic start here."""

    @property
    def shared(self) -> bool:
        """Whether policy and critic have parameters in common."""
        return self.critic_start < self.policy_end

    def distribution(self, theta: Float[Array, " n"], inputs: PyTree) -> Any:
        """π_θ(·|inputs)."""
        return self.policy(theta[: self.policy_end], inputs)

    def value(self, theta: Float[Array, " n"], inputs: PyTree) -> Float[Array, "*B"]:
        """V_θ(inputs)."""
        return self.critic(theta[self.critic_start :], inputs)

    def act(self, theta: Float[Array, " n"], inputs: Inputs) -> tuple[Any, Any]:
        """π_θ for one step of each row, and the hidden state after it (None without)."""
        return self.unravel_policy(theta[: self.policy_end]).act(inputs)

    def initial_state(self, theta: Float[Array, " n"], rows: int) -> PyTree:
        """The hidden state before the first step of so many rows; None without."""
        return self.unravel_policy(theta[: self.policy_end]).initial_state(rows)

    def next_value(
        self, theta: Float[Array, " n"], inputs: Inputs, following: Inputs
    ) -> Float[Array, "*B"]:
        """V_θ of each row's next observation."""
        return self.unravel_critic(theta[self.critic_start :]).next_value(inputs, following)

    def step_value(self, theta: Float[Array, " n"], inputs: Inputs) -> Float[Array, "*B"]:
        """V_θ for one step of each row by itself."""
        return self.unravel_critic(theta[self.critic_start :]).step_value(inputs)

    @cached_property
    def sample(self) -> Callable[..., tuple[Any, Any]]:
        """Compiled once for all θ: θ, scaling, raw inputs, key → actions, hidden state."""
        return self._decide(lambda distribution, key: distribution.sample(key))

    @cached_property
    def mode(self) -> Callable[..., tuple[Any, Any]]:
        """``sample`` with the most probable actions; the key is not used."""
        return self._decide(lambda distribution, _: distribution.mode())

    @cached_property
    def describe(self) -> Callable[..., tuple[Any, Any]]:
        """``sample`` with the distribution in place of actions; the key is not used."""
        return self._decide(lambda distribution, _: distribution)

    @cached_property
    def compiled_value(self) -> Callable[..., Array]:
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

    def policy(self, part: Float[Array, " p"], inputs: PyTree) -> Any:
        """π as a function of the policy's own part of θ: what a trust region constrains."""
        return self.unravel_policy(part).distribution(inputs)

    def critic(self, part: Float[Array, " c"], inputs: PyTree) -> Float[Array, "*B"]:
        """V as a function of the critic's own part of θ."""
        return self.unravel_critic(part).value(inputs)


def _seen(inputs: Inputs, scaling: Scaling | None) -> Inputs:
    """The inputs, normalised."""
    if scaling is None:
        return inputs
    return inputs._replace(observation=normalize(inputs.observation, scaling))


def flatten(network: ActorCritic, trainable: PyTree = None) -> tuple[Float[Array, " n"], Model]:
    """The flat θ of a network, and the network as functions of it.

    ``trainable`` says what θ is made of, as Equinox's ``filter_spec`` does: a function of one leaf,
    or a tree of bools that has the network's structure or ends above its leaves, such as
    ``ActorCritic(True, False, True)``; by default the network's own ``trainable``. What it leaves
    out is never differentiated, stepped or measured; its arrays are the leaves of the ``Model``.
    """
    trainable = network.trainable if trainable is None else trainable
    # A tree of bools has the structure of a network that does not carry it.
    network = replace(network, trainable=eqx.is_inexact_array)
    chosen = eqx.filter(eqx.filter(network, trainable), eqx.is_inexact_array)
    is_trained = jax.tree.map(lambda leaf: leaf is not None, chosen, is_leaf=lambda x: x is None)
    trained, rest = eqx.partition(network, is_trained)
    frozen, static = eqx.partition(rest, eqx.is_array)

    def section(*names: str) -> tuple[int, Section]:
        def only(whole: ActorCritic) -> ActorCritic:
            return replace(whole, **{name: None for name in PARTS if name not in names})

        size, unravel = _flat_form(only(trained))
        fixed = only(static)
        return size, Section(
            unravel, lambda parameters, held: eqx.combine(parameters, held, fixed), only(frozen)
        )

    size, whole = section(*PARTS)
    policy_size, of_policy = section("actor", "encoder")
    critic_size, of_critic = section("encoder", "critic")
    theta = _raveled(jax.tree.leaves(trained))
    return theta, Model(whole, of_policy, of_critic, policy_size, size - critic_size)


@jax.jit  # leaf by leaf, each shape would be a program to compile
def _raveled(leaves: list[Array]) -> Float[Array, " n"]:
    return ravel_pytree(leaves)[0]


def _flat_form(tree: PyTree) -> tuple[int, Callable[[Float[Array, " m"]], PyTree]]:
    """The size of a tree's flat vector, and the way back from it; nothing is computed."""
    leaves, structure = jax.tree.flatten(tree)
    ways: list[Callable[[Float[Array, " m"]], list[Array]]] = []

    def form(leaves: list[Array]) -> Float[Array, " m"]:
        flat, unravel = ravel_pytree(leaves)
        ways.append(unravel)
        return flat

    size = jax.eval_shape(form, leaves).size
    return size, lambda flat: jax.tree.unflatten(structure, ways[0](flat))
