"""x − log(1 + x) keeps its digits."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from distribution_checks import precision

from klamp.mathematics.distributions.excess import log1p_excess

SMALL = np.logspace(-18, 0, 500)
X = np.concatenate([0.999 * SMALL, -0.999 * SMALL, np.logspace(0, 5, 99)])


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 2e-6), ("float64", 1e-13)])
def test_it_is_the_integral_that_defines_it(dtype: str, tolerance: float) -> None:
    # x − log(1 + x) = x²·∫₀¹ u/(1 + xu) du, where nothing cancels.
    nodes, shares = np.polynomial.legendre.leggauss(200)
    with precision(dtype):
        x = X.astype(dtype)
        u = (nodes + 1) / 2
        wide = x.astype(np.float64)
        near = np.abs(wide) < 0.8
        integral = (shares / 2 * u / (1 + wide[near, None] * u)).sum(-1)
        expected = np.where(near, 0, wide - np.log1p(wide))
        expected[near] = wide[near] ** 2 * integral
        found = np.asarray(jax.jit(log1p_excess)(x), np.float64)
        np.testing.assert_allclose(found, expected, rtol=tolerance, atol=1e-37)


def test_its_slope_is_finite_and_right_everywhere() -> None:
    x = jnp.asarray([-0.9, -0.2, -1e-9, 0.0, 1e-9, 0.19, 0.2, 3.0])
    slope = jax.vmap(jax.grad(log1p_excess))(x)
    np.testing.assert_allclose(slope, x / (1 + x), rtol=1e-5, atol=1e-12)
