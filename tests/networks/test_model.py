"""The flat θ of networks with every head: nothing is lost, and masks pass through."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from environments import ACTIONS

from klamp import Settings
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
