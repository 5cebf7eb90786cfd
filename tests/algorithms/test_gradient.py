"""The gradient and Adam's direction that all first-order algorithms share."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from probe import adam_first_step, make_model, sample

from klamp.algorithms.gradient import adam, adam_direction, flat_gradient


@pytest.mark.parametrize("shared", [False, True])
def test_the_gradient_is_that_of_the_flat_vector(shared: bool) -> None:
    theta, model = make_model(shared=shared)
    batch, _ = sample(model, theta, 0)

    def loss(network, part, factor):
        new, value = network.distribution_and_value(part.inputs)
        return factor * jnp.mean(new.log_prob(part.action) + jnp.square(value))

    flat = jax.grad(lambda at: loss(model.unravel(at), batch, 2.0))(theta)
    np.testing.assert_allclose(flat_gradient(loss, model, theta, batch, 2.0), flat, atol=1e-6)


@pytest.mark.parametrize("bound", [0.5, 100.0])
def test_the_gradient_is_clipped_by_its_norm_and_not_by_element(bound: float) -> None:
    gradient = jnp.asarray([3.0, -4.0, 1e-5])
    direction, moments = adam_direction(gradient, adam(bound).init(gradient), bound)
    clipped = gradient * min(1.0, bound / 5.0)
    np.testing.assert_allclose(moments[1].mu, 0.1 * clipped, rtol=1e-5)
    expected = adam_first_step(gradient, max_gradient_norm=bound)
    np.testing.assert_allclose(direction, expected, rtol=1e-4)
