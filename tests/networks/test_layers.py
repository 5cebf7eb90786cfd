"""Features: images are scaled once, and convolutions fit every size."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from klamp.networks import CNN, MLP, Dense, ImagesAndNumbers
from klamp.networks.layers import (
    FEATURES,
    IMAGES_AT_ONCE,
    Convolution,
    as_float,
    convolve_by_product,
    convolve_directly,
    few_at_a_time,
)
from klamp.types import Inputs


def test_bytes_are_scaled_and_nothing_else_is() -> None:
    np.testing.assert_allclose(as_float(jnp.array([0, 51, 255], jnp.uint8)), [0, 0.2, 1])
    for kind in (jnp.float32, jnp.int32, bool):
        scaled = as_float(jnp.array([0, 1], kind))
        assert scaled.dtype == jnp.float32
        np.testing.assert_array_equal(scaled, [0, 1])


@pytest.mark.parametrize(
    ("shape", "dense"),
    [
        ((84, 84, 4), 7 * 7 * 64),  # the network of Mnih et al., to the number
        ((4, 84, 84), 7 * 7 * 64),
        ((36, 40, 3), 1 * 1 * 64),
        ((10, 10, 4), 3 * 3 * 64),
        ((1, 1, 1), 64),
        ((35, 2, 3), 9 * 1 * 64),
    ],
)
def test_every_image_size_has_convolutions(shape: tuple[int, ...], dense: int) -> None:
    def built(key: jax.Array) -> CNN:
        return CNN(shape, key=key)

    network = jax.eval_shape(built, jax.random.key(0))
    assert network.dense.weight.shape == (dense, FEATURES)
    images = jax.ShapeDtypeStruct((2, *shape), jnp.uint8)
    features = jax.eval_shape(lambda x: built(jax.random.key(0))(Inputs(x)), images)
    assert features.shape == (2, FEATURES)


@pytest.mark.compiles
def test_bytes_and_what_was_scaled_before_look_the_same() -> None:
    network = CNN((9, 9, 1), key=jax.random.key(0))
    images = jnp.zeros((2, 9, 9, 1), jnp.uint8).at[1].set(255)
    expected = network(Inputs(images))
    np.testing.assert_allclose(network(Inputs(images / 255)), expected, rtol=1e-6)


def test_channels_first_and_last_see_the_same_image() -> None:
    network = CNN((3, 6, 6), key=jax.random.key(0))
    other = CNN((6, 6, 3), key=jax.random.key(0))
    image = jax.random.uniform(jax.random.key(1), (2, 3, 6, 6))
    expected = other(Inputs(jnp.moveaxis(image, 1, -1)))
    np.testing.assert_allclose(network(Inputs(image)), expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("size", "stride", "shape"), [(8, 4, (13, 22)), (4, 2, (9, 4)), (3, 1, (5, 3)), (3, 2, (8, 7))]
)
def test_a_convolution_is_a_matrix_product(size: int, stride: int, shape: tuple) -> None:
    keys = jax.random.split(jax.random.key(0))
    x = jax.random.normal(keys[0], (2, *shape, 3))
    weight = jax.random.normal(keys[1], (size, size, 3, 5))
    expected = convolve_directly(x, weight, stride)
    np.testing.assert_allclose(convolve_by_product(x, weight, stride), expected, atol=1e-4)


@pytest.mark.compiles
def test_images_a_few_at_a_time_are_images_together() -> None:
    """Values and derivatives, forward and backward, of a number that is no multiple of the few."""
    layer = Convolution(3, 5, 3, 2, "SAME", jax.random.key(0))
    images, change, weights = (
        jax.random.normal(key, (IMAGES_AT_ONCE * 2 + 1, 6, 4, 3))
        for key in jax.random.split(jax.random.key(1), 3)
    )
    weights = layer(weights)

    def derivatives(convolved):
        value, forward = jax.jvp(convolved, (images,), (change,))
        return value, forward, jax.grad(lambda x: jnp.sum(convolved(x) * weights))(images)

    found = derivatives(lambda x: few_at_a_time(layer, x))
    for one, other in zip(found, derivatives(layer), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("sides", [(1, 1), (4, 7), (5, 5)])
def test_padding_is_xlas_same(stride: int, sides: tuple[int, int]) -> None:
    layer = Convolution(2, 4, 3, stride, "SAME", jax.random.key(0))
    x = jax.random.normal(jax.random.key(1), (2, *sides, 2))
    expected = jax.lax.conv_general_dilated(
        x, layer.weight, (stride, stride), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )
    np.testing.assert_allclose(layer(x), jax.nn.relu(expected), atol=1e-5)


def test_dense_is_affine() -> None:
    layer = Dense(2, 3, gain=1.0, key=jax.random.key(0))
    x = jnp.array([[1.0, -2.0]])
    np.testing.assert_allclose(layer(x), x @ layer.weight + layer.bias)


def test_the_features_of_images_stand_beside_the_numbers() -> None:
    """Without hidden layers, what each image's own convolutions make of it, by itself."""
    shapes = ((6, 5, 1), (2, 8, 8))
    layers = MLP(3 + 2 * FEATURES, (), "tanh", key=jax.random.key(0))
    both = ImagesAndNumbers(3, shapes, layers, key=jax.random.key(1))
    numbers = jax.random.normal(jax.random.key(2), (4, 3))
    images = [jax.random.uniform(jax.random.key(3), (4, *shape)) for shape in shapes]
    rows = jnp.concatenate([numbers, *(image.reshape(4, -1) for image in images)], axis=1)
    alone = [cnn(Inputs(image)) for cnn, image in zip(both.images, images, strict=True)]
    expected = jnp.concatenate([numbers, *alone], axis=1)
    np.testing.assert_allclose(both(Inputs(rows)), expected, rtol=1e-6)
