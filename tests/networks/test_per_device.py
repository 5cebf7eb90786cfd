"""Copies of a network per device: the gradient is that of one network."""

from typing import Any

import equinox as eqx
import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import klamp
from klamp.networks import build_network, flatten
from klamp.networks.flat_model import Model
from klamp.networks.gradient import flat_gradient, section_gradient
from klamp.types import Inputs

BOX = gymnasium.spaces.Box(-1, 1, (3,))
JOINT = gymnasium.spaces.Dict({"a": BOX, "b": gymnasium.spaces.MultiDiscrete([2, 3])})
CASES: dict[str, tuple[Any, dict[str, Any]]] = {
    "one scale for all states": (BOX, {"shared_network": True}),
    "a scale of the state": (BOX, {"action_scale": "state"}),
    "squashed": (BOX, {"action_bounds": "tanh"}),
    "beta": (BOX, {"action_bounds": "beta"}),
    "discrete": (gymnasium.spaces.Discrete(4), {}),
    "joint": (JOINT, {}),
}


FEW = ("one scale for all states", "discrete")


def case(name: str, rows: int = 12) -> tuple[Any, Model, Inputs, Any, Any]:
    actions, more = CASES[name]
    settings = klamp.Settings(hidden_sizes=(4,), **more)
    theta, model = flatten(build_network(BOX, actions, settings, key=jax.random.key(0)))
    rng = np.random.default_rng(1)
    inputs = Inputs(jnp.asarray(rng.normal(size=(rows, 3)), jnp.float32))
    action = jax.jit(model.distribution)(theta, inputs).sample(jax.random.key(1))
    return theta, model, inputs, action, jnp.asarray(rng.random(rows), jnp.float32)


def loss(network: Any, inputs: Inputs, action: Any, weight: Any) -> Any:
    new, value = network.distribution_and_value(inputs)
    # Not a mean over rows, as a clipped one is not.
    fit = jnp.log(jnp.sum(weight * jnp.exp(new.log_prob(action))))
    return fit + jnp.mean(weight * jnp.square(value)) - 0.1 * jnp.mean(new.entropy())


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=() if n in FEW else pytest.mark.compiles) for n in CASES]
)
def test_the_gradient_is_that_of_the_flat_vector(name: str) -> None:
    theta, model, *rows = case(name)

    @jax.jit
    def all_ways(theta: Any) -> list[Any]:
        flat = jax.grad(lambda at: loss(model.unravel(at), *rows))(theta)
        found = [flat_gradient(loss, model, theta, *rows, devices=count) for count in (1, 2, 3)]
        return [flat, *found]

    flat, *found = all_ways(theta)
    assert np.all(np.abs(flat).reshape(-1) < 1e3)
    assert np.count_nonzero(flat) > theta.size / 2
    for gradient in found:
        np.testing.assert_allclose(gradient, flat, rtol=1e-5, atol=1e-6)


def test_a_part_of_the_network_and_what_is_frozen() -> None:
    _, model, inputs, _, weight = case("discrete")
    network = model.unravel(case("discrete")[0])
    frozen = eqx.tree_at(
        lambda tree: tree.critic.dense.bias,
        jax.tree.map(eqx.is_inexact_array, network),
        replace=False,
    )
    theta, model = flatten(network, frozen)
    own = theta[model.critic_start :]

    def fit(critic: Any) -> Any:
        return jnp.sum(weight * jnp.square(critic.value(inputs) - 1))

    one, two = (section_gradient(fit, model.unravel_critic, own, count) for count in (1, 2))
    np.testing.assert_allclose(two, one, rtol=1e-5, atol=1e-6)
    assert own.size == case("discrete")[0].size - model.critic_start - 1
