"""The gradient that all first-order algorithms share."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from probe import make_model, sample

from klamp.networks.gradient import flat_gradient


@pytest.mark.parametrize("shared", [False, True])
def test_the_gradient_is_that_of_the_flat_vector(shared: bool) -> None:
    theta, model = make_model(shared=shared)
    batch, _ = sample(model, theta, 0)

    def loss(network, part, factor):
        new, value = network.distribution_and_value(part.inputs)
        return factor * jnp.mean(new.log_prob(part.action) + jnp.square(value))

    @jax.jit
    def both(theta):
        flat = jax.grad(lambda at: loss(model.unravel(at), batch, 2.0))(theta)
        return flat_gradient(loss, model, theta, batch, 2.0), flat

    np.testing.assert_allclose(*both(theta), rtol=1e-6, atol=1e-6)
