"""The flat θ of networks with every head: nothing is lost, and masks pass through."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from environments import ACTIONS

from klamp import Batch, Outcome, Settings, fisher_vector_product, trust_region_step
from klamp.networks import build_network, flatten
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


@pytest.mark.slow
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
