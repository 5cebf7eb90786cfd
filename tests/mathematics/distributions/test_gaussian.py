"""The scale of a schedule replaces the Gaussian's own."""

import jax.numpy as jnp
import numpy as np

from klamp import DiagonalGaussian


def test_a_scheduled_scale_replaces_log_std() -> None:
    gaussian = DiagonalGaussian(jnp.ones((2, 3)), 0.0).with_log_std(jnp.asarray([-1.0, -2.0]))
    np.testing.assert_array_equal(gaussian.log_std, [[-1.0] * 3, [-2.0] * 3])
    np.testing.assert_array_equal(gaussian.mean, np.ones((2, 3)))
