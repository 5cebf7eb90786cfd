"""Sizes beyond what squares can hold."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from klamp.mathematics.magnitude import euclidean_norm, power_of_two


@pytest.mark.parametrize("size", [1.0, 3.7e-30, 1e30, 3e38, 1.2e-38, 0.5])
def test_a_power_of_two_of_the_order_of_a_size(size: float) -> None:
    unit = float(power_of_two(jnp.float32(size)))
    assert np.frexp(unit)[0] == 0.5
    assert 0.5 <= size / unit <= 4


@pytest.mark.parametrize("size", [0.0, np.nan, np.inf])
def test_what_has_no_size_has_the_unit_one(size: float) -> None:
    assert power_of_two(jnp.float32(size)) == 1


@pytest.mark.parametrize("scale", [1e-37, 1e-22, 1.0, 1e22, 1e37])
def test_norms_whose_squares_leave_the_range(scale: float) -> None:
    vector = scale * np.asarray([3.0, -4.0, 12.0], np.float32)
    expected = float(np.linalg.norm(vector.astype(np.float64)))
    assert float(jax.jit(euclidean_norm)(vector)) == pytest.approx(expected, rel=1e-6)


def test_norms_of_nothing_and_of_nan() -> None:
    assert euclidean_norm(jnp.zeros(3)) == 0
    assert jnp.isnan(euclidean_norm(jnp.asarray([1.0, jnp.nan])))
    assert euclidean_norm(jnp.asarray([1.0, jnp.inf])) == jnp.inf
