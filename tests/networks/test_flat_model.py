"""The flat θ of networks with every head: nothing is lost, and masks pass through."""

from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from environments import ACTIONS
from jax.flatten_util import ravel_pytree

from klamp import Batch, Categorical, Outcome, Settings, fisher_vector_product, trust_region_step
from klamp.networks import Model, build_network, flatten
from klamp.networks.gradient import section_gradient
from klamp.types import Inputs


@pytest.mark.parametrize("name", ACTIONS)
def test_theta_holds_every_parameter_of_every_head(name: str) -> None:
    settings = Settings(hidden_sizes=(4,))
    network = build_network(3, ACTIONS[name], settings, key=jax.random.key(0))
    theta, model = flatten(network)
    assert theta.size == sum(leaf.size for leaf in jax.tree.leaves(network))
    inputs = Inputs(jnp.ones((2, 3)))
    direct, by_theta = network.distribution(inputs), model.distribution(theta, inputs)
    for a, b in zip(jax.tree.leaves(direct), jax.tree.leaves(by_theta), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7)


def two_layers() -> Any:
    settings = Settings(hidden_sizes=(4,))
    return build_network(3, ACTIONS["discrete"], settings, key=jax.random.key(0))


def test_theta_may_be_a_part_of_the_network() -> None:
    """Only what is chosen is flattened, differentiated, stepped; the rest stays to the bit."""
    network = two_layers()
    nothing = jax.tree.map(lambda _: False, network)
    head_alone = eqx.tree_at(lambda whole: whole.actor.head, nothing, True)
    theta, model = flatten(network, head_alone)
    assert theta.size == sum(leaf.size for leaf in jax.tree.leaves(network.actor.head))
    assert (model.policy_end, model.critic_start) == (theta.size, theta.size)
    inputs = Inputs(jax.random.normal(jax.random.key(1), (16, 3)))
    old = model.policy(theta, inputs)
    np.testing.assert_array_equal(old.logits, network.distribution(inputs).logits)
    batch = Batch(inputs, old.sample(jax.random.key(2)), jnp.linspace(-1, 1, 16), old)

    whole, of_all = flatten(network)
    surrogate = lambda net: jnp.mean(net.distribution(inputs).log_prob(batch.action))  # noqa: E731
    gradient = section_gradient(surrogate, model.unravel, theta)
    full = section_gradient(surrogate, of_all.unravel, whole)
    head = ravel_pytree(of_all.unravel(full).actor.head)[0]
    np.testing.assert_allclose(gradient, head, rtol=1e-5, atol=1e-7)

    moved, report = trust_region_step(model.policy, theta, batch)
    assert int(report.outcome) == Outcome.ACCEPTED
    stepped = model.unravel(moved)
    for one, other in (
        (stepped.actor.torso, network.actor.torso),
        (stepped.critic, network.critic),
    ):
        np.testing.assert_array_equal(one, other)
    assert np.any(ravel_pytree(stepped.actor.head)[0] != ravel_pytree(network.actor.head)[0])


def test_what_is_frozen_is_an_argument_of_the_program_and_no_constant() -> None:
    network = two_layers()
    everything = jax.tree.map(lambda _: True, network)
    theta, model = flatten(network, eqx.tree_at(lambda net: net.actor.torso, everything, False))
    torso = jax.tree.leaves(network.actor.torso)
    assert {leaf.shape for leaf in jax.tree.leaves(model)} == {leaf.shape for leaf in torso}
    inputs, old = Inputs(jnp.ones((2, 3))), Categorical(jnp.zeros((2, 3)))
    batch = Batch(inputs, jnp.zeros(2, int), jnp.asarray([1.0, -0.5]), old)

    def step(model: Model, theta: Any, batch: Batch) -> Any:
        return trust_region_step(model.policy, theta[: model.policy_end], batch)

    def of_weights(constants: list[Any]) -> list[Any]:
        return [one for one in constants if np.shape(one) in {leaf.shape for leaf in torso}]

    assert not of_weights(jax.make_jaxpr(step)(model, theta, batch).consts)
    closed_over = jax.make_jaxpr(partial(step, model))(theta, batch)
    assert of_weights(closed_over.consts)
    compiled = jax.jit(lambda model, theta, inputs: model.distribution(theta, inputs).logits)
    doubled = jax.tree.map(lambda leaf: 2 * leaf, model)
    assert np.any(compiled(model, theta, inputs) != compiled(doubled, theta, inputs))
    assert compiled._cache_size() == 1


def test_a_function_may_choose_what_is_trained() -> None:
    theta, model = flatten(two_layers(), lambda leaf: eqx.is_inexact_array(leaf) and leaf.ndim == 1)
    biases = [leaf for leaf in jax.tree.leaves(two_layers()) if leaf.ndim == 1]
    assert theta.size == sum(leaf.size for leaf in biases)
    assert model.distribution(theta, Inputs(jnp.ones((2, 3)))).logits.shape == (2, 3)


@pytest.mark.compiles
@pytest.mark.parametrize("name", ["discrete", "multidiscrete", "dict"])
def test_rows_of_weight_zero_may_mask_everything(name: str) -> None:
    """A scrubbed row allows no action; Fisher product and step are as without it."""
    network = build_network(3, ACTIONS[name], Settings(hidden_sizes=(4,)), key=jax.random.key(0))
    theta, model = flatten(network)
    keys = jax.random.split(jax.random.key(1), 3)
    size = {"discrete": 3, "multidiscrete": 5, "dict": 3}[name]
    mask = jnp.ones((6, size), bool).at[:, 0].set(False).at[4:].set(False)
    observation = jax.random.normal(keys[0], (6, 3)).at[5].set(jnp.nan)
    inputs = Inputs(observation, action_mask=mask)
    weight = jnp.asarray([1.0, 1, 1, 1, 0, 0])
    old = model.policy(theta[: model.policy_end], inputs)
    action = old.sample(keys[1])
    advantage = jnp.asarray([1.0, -1, 2, 0.5, jnp.nan, jnp.inf])
    batch = Batch(inputs, action, advantage, old, weight)
    policy_theta = theta[: model.policy_end]
    vector = jax.random.normal(keys[2], policy_theta.shape)

    @jax.jit
    def both(part: Batch) -> tuple[Any, Any]:
        inputs, weight = part.inputs, part.weight
        return (
            fisher_vector_product(model.policy, policy_theta, inputs, vector, weight=weight),
            trust_region_step(model.policy, policy_theta, part, max_kl=0.01),
        )

    results = []
    for rows in (slice(0, 6), slice(0, 4)):
        part = jax.tree.map(lambda leaf, rows=rows: leaf[rows], batch)
        product, (moved, report) = both(part)
        assert int(report.outcome) == Outcome.ACCEPTED
        assert float(report.kl) <= 0.01
        results.append((product, moved))
    for with_garbage, without in zip(*results, strict=True):
        assert np.all(np.isfinite(with_garbage))
        np.testing.assert_allclose(with_garbage, without, rtol=1e-3, atol=1e-5)
