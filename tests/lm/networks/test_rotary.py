"""Rotary positions: products of turned queries and keys depend on the distance alone."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from klamp.lm.networks.model_config import DecoderConfig, RopeScaling
from klamp.lm.networks.rotary import frequencies, rotation_at

PLAIN = DecoderConfig(8, 8, 1, 2, 1, 8, 16, context=64, rope_theta=100.0)
SCALED = replace(PLAIN, rope_scaling=RopeScaling(8.0, 1.0, 4.0, 32))


@pytest.mark.parametrize("config", [PLAIN, SCALED], ids=["plain", "scaled"])
def test_a_product_depends_on_the_distance_alone(config: DecoderConfig) -> None:
    query, key = jax.random.normal(jax.random.key(0), (2, 1, 1, 1, 8))

    def product(at: int, to: int) -> float:
        turned = (
            rotation_at(jnp.array([[place]]), config, jnp.dtype("float32")).turn(x)
            for place, x in ((at, query), (to, key))
        )
        first, second = turned
        assert jnp.linalg.norm(first) == pytest.approx(float(jnp.linalg.norm(query)), rel=1e-6)
        return float(jnp.sum(first * second))

    assert product(9, 4) == pytest.approx(product(25, 20), abs=1e-5)
    assert product(9, 4) != pytest.approx(product(9, 8), abs=1e-2)
    assert product(0, 0) == pytest.approx(float(jnp.sum(query * key)), abs=1e-6)


def test_pairs_turn_by_powers_of_the_base() -> None:
    np.testing.assert_allclose(frequencies(PLAIN), 100.0 ** -np.array([0, 0.25, 0.5, 0.75]))


def test_scaling_leaves_fast_pairs_and_slows_down_slow_ones() -> None:
    """Llama 3: what turns four times within the old context stays; less than once: 8 times slower.

    Of the pairs here, in the old context of 32: 5.1, 1.6, 0.5 and 0.16 turns.
    """
    plain, scaled = frequencies(PLAIN), frequencies(SCALED)
    assert scaled[0] == plain[0]
    np.testing.assert_allclose(scaled[2:], plain[2:] / 8)
    assert plain[1] / 8 < scaled[1] < plain[1]


def test_low_precision_does_not_reach_the_angles() -> None:
    position = jnp.array([[513]])
    rotation = rotation_at(position, PLAIN, jnp.dtype("bfloat16"))
    assert rotation.cosine.dtype == jnp.float32
    x = jnp.ones((1, 1, 1, 8), jnp.bfloat16)
    assert rotation.turn(x).dtype == jnp.bfloat16
