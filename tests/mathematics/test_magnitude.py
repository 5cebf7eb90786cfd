"""Units of the order of what is measured in them."""

import jax.numpy as jnp
import numpy as np
import pytest

from klamp.mathematics.magnitude import power_of_two


@pytest.mark.parametrize("size", [1.0, 3.7e-30, 1e30, 3e38, 1.2e-38, 0.5])
def test_a_power_of_two_of_the_order_of_a_size(size: float) -> None:
    unit = float(power_of_two(jnp.float32(size)))
    assert np.frexp(unit)[0] == 0.5
    assert 0.5 <= size / unit <= 4


@pytest.mark.parametrize("size", [0.0, np.nan, np.inf])
def test_what_has_no_size_has_the_unit_one(size: float) -> None:
    assert power_of_two(jnp.float32(size)) == 1
