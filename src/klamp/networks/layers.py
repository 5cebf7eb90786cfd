"""From observations to features: dense layers and, for images, convolutions."""

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name
from jaxtyping import Array, Bool, Float, PRNGKeyArray, Shaped, UInt32

from klamp.runtime.device import cpu
from klamp.types import Inputs

ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "tanh": jnp.tanh,
    "relu": jax.nn.relu,
    "gelu": jax.nn.gelu,
    "silu": jax.nn.silu,
    "elu": jax.nn.elu,
}


def as_float(observation: Shaped[Array, "*S"]) -> Float[Array, "*S"]:
    """Bytes as numbers from 0 to 1; all other numbers as they are, as floats.

    The one place where images are scaled: they are stored as bytes until a network uses them.
    Normalised numbers are floats already.
    """
    if observation.dtype == jnp.uint8:
        return observation.astype(jnp.float32) / 255
    floating = jnp.issubdtype(observation.dtype, jnp.floating)
    return observation if floating else observation.astype(jnp.float32)


class Dense(eqx.Module):
    """x ↦ xW + b, with W orthogonal times ``gain`` at first and b = 0."""

    weight: Float[Array, "i o"]
    bias: Float[Array, " o"]

    def __init__(self, size_in: int, size_out: int, *, gain: float, key: PRNGKeyArray) -> None:
        self.weight = jax.nn.initializers.orthogonal(gain)(key, (size_in, size_out))
        self.bias = jnp.zeros(size_out)

    def __call__(self, x: Float[Array, "*B i"]) -> Float[Array, "*B o"]:
        """One row in, one row out."""
        return x @ self.weight + self.bias


def drop(
    x: Float[Array, "B h"], keys: UInt32[Array, "B 2"], layer: int, rate: float
) -> Float[Array, "B h"]:
    """Leave out each feature with probability ``rate`` and scale the rest by 1/(1 − rate).

    The mask is a function of the row's own key and the layer (Srivastava et al. 2014 with the mask
    kept): every later evaluation of this transition, for a gradient, a Fisher product or a line
    search, uses the sub-network that acted.
    """

    def kept(words: UInt32[Array, " 2"]) -> Bool[Array, " h"]:
        key = jax.random.fold_in(jax.random.wrap_key_data(words, impl="threefry2x32"), layer)
        return jax.random.bernoulli(key, 1 - rate, x.shape[1:])

    return jnp.where(jax.vmap(kept)(keys), x / (1 - rate), 0)


class MLP(eqx.Module):
    """Hidden layers: the observation, flattened, through dense layers and activations.

    With ``dropout``, hidden features are left out where the inputs carry a key for it.
    """

    layers: tuple[Dense, ...]
    activation: Callable[[Array], Array] = eqx.field(static=True)
    dropout: float = eqx.field(static=True)

    def __init__(
        self,
        size_in: int,
        hidden_sizes: Sequence[int],
        activation: str,
        *,
        dropout: float = 0.0,
        key: PRNGKeyArray,
    ) -> None:
        sizes = (size_in, *hidden_sizes)
        keys = jax.random.split(key, max(len(hidden_sizes), 1))
        self.layers = tuple(
            Dense(sizes[i], sizes[i + 1], gain=2**0.5, key=keys[i])
            for i in range(len(hidden_sizes))
        )
        self.activation = ACTIVATIONS[activation]
        self.dropout = dropout

    def __call__(self, inputs: Inputs) -> Float[Array, "B h"]:
        """Features of each row."""
        x = as_float(inputs.observation)
        x = x.reshape(x.shape[0], -1)
        for number, layer in enumerate(self.layers):
            x = self.activation(layer(x))
            if self.dropout and inputs.dropout_key is not None:
                x = drop(x, inputs.dropout_key, number, self.dropout)
        return x


class Features(eqx.Module):
    """The torso behind a shared encoder: its features are the observation."""

    def __call__(self, inputs: Inputs) -> Float[Array, "B h"]:
        """The encoded observation."""
        return inputs.observation


def convolve_directly(
    x: Float[Array, "B h w i"], weight: Float[Array, "k k i o"], stride: int
) -> Float[Array, "B y x o"]:
    """A convolution without padding, by the device's own routine."""
    return jax.lax.conv_general_dilated(
        x, weight, (stride, stride), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


ENOUGH_CHANNELS = 32
"""Numbers from where on a product of their own is sooner done than they are joined with others."""
KEPT = "convolution"
"""The name of what a convolution returns, for derivatives that are to keep it."""
IMAGES_AT_ONCE = 4
"""Images that a CPU takes through all convolutions together: as many as its cache holds."""


def convolve_by_product(
    x: Float[Array, "B h w i"], weight: Float[Array, "k k i o"], stride: int
) -> Float[Array, "B y x o"]:
    """The same by matrix products: y = Σ_ij x_ij W_ij, x_ij what the kernel's part (i, j) sees.

    On a CPU, XLA's convolution is 15 times slower than this inside a loop, where every update runs
    (and twice as fast outside of one). A part is as many pixels of a row as the stride moves by,
    where it divides the kernel: they lie side by side, so that nothing is moved to join them. Parts
    of few numbers are joined with the others of their row of the kernel, since products over few
    numbers read more than they compute.
    """
    rows, size, _, channels, filters = x.shape[0], *weight.shape
    width = stride if size % stride == 0 else 1
    parts, step = size // width, stride // width
    height, across = ((n - size) // stride + 1 for n in x.shape[1:3])
    columns = x.shape[2] // width
    x = x[:, :, : columns * width].reshape(rows, x.shape[1], columns, width * channels)
    weight = weight.reshape(size, parts, width * channels, filters)
    last_row, last_column = stride * (height - 1) + 1, step * (across - 1) + 1
    seen = [
        [x[:, i : i + last_row : stride, j : j + last_column : step] for j in range(parts)]
        for i in range(size)
    ]
    if width * channels < ENOUGH_CHANNELS:
        seen = [[jnp.concatenate(row, axis=-1)] for row in seen]
        weight = weight.reshape(size, 1, -1, filters)
    first, *others = (
        part.reshape(-1, part.shape[-1]) @ weight[i, j]
        for i, row in enumerate(seen)
        for j, part in enumerate(row)
    )
    return sum(others, first).reshape(rows, height, across, filters)


class Convolution(eqx.Module):
    """A two-dimensional convolution with a bias, then ReLU; [B, H, W, C]."""

    weight: Float[Array, "h w i o"]
    bias: Float[Array, " o"]
    stride: int = eqx.field(static=True)
    padding: str = eqx.field(static=True)

    def __init__(
        self, size_in: int, size_out: int, kernel: int, stride: int, padding: str, key: PRNGKeyArray
    ) -> None:
        shape = (kernel, kernel, size_in, size_out)
        self.weight = jax.nn.initializers.orthogonal(2**0.5)(key, shape)
        self.bias = jnp.zeros(size_out)
        self.stride, self.padding = stride, padding

    def __call__(self, x: Float[Array, "B h w i"]) -> Float[Array, "B y x o"]:
        """One image in, one image out."""
        size, stride = self.weight.shape[0], self.stride
        if self.padding == "SAME":
            missing = [max((-(-n // stride) - 1) * stride + size - n, 0) for n in x.shape[1:3]]
            rows, columns = ((m // 2, m - m // 2) for m in missing)
            x = jnp.pad(x, ((0, 0), rows, columns, (0, 0)))
        convolve = convolve_by_product if by_product(x) else convolve_directly
        return jax.nn.relu(checkpoint_name(convolve(x, self.weight, stride), KEPT) + self.bias)


def by_product(images: Shaped[Array, "B h w i"]) -> bool:
    """Whether images are convolved by matrix products: on a CPU.

    A symbolic number of rows means that the layer is being exported: nothing is computed.
    """
    rows: Any = images.shape[0]
    return cpu() and isinstance(rows, int)


def few_at_a_time(
    function: Callable[[Array], Array], images: Shaped[Array, "B h w i"]
) -> Float[Array, "B y x o"]:
    """``function`` of images, a few after another, so that what they become stays in the cache.

    Its derivative keeps what each convolution returned, and joins its pixels again.
    """
    kept = jax.checkpoint_policies.save_only_these_names(KEPT)

    @partial(jax.checkpoint, policy=kept)
    def few(some: Array) -> Array:
        return function(some)

    whole = len(images) - len(images) % IMAGES_AT_ONCE
    stacked = images[:whole].reshape(-1, IMAGES_AT_ONCE, *images.shape[1:])
    x = jax.lax.map(few, stacked)
    x = x.reshape(whole, *x.shape[2:])
    return x if whole == len(images) else jnp.concatenate([x, few(images[whole:])])


NATURE = ((32, 8, 4), (64, 4, 2), (64, 3, 1))
"""Channels, kernel and stride of each layer (Mnih et al., Nature 518, 2015)."""
SMALL = ((32, 3, 1), (64, 3, 2), (64, 3, 2))
"""The same for images that those kernels do not fit into, with zeros around the edge."""
FEATURES = 512
"""Width of the dense layer that follows."""


class CNN(eqx.Module):
    """Images to features: three convolutions and a dense layer, with ReLU.

    From 36 pixels upwards that of Mnih et al. (Nature 518, 2015); below, three 3×3 convolutions,
    the last two with stride 2. The channels are the first axis where it is shorter than the last
    (stacked frames), else the last (colours).
    """

    convolutions: tuple[Convolution, ...]
    dense: Dense
    channels_first: bool = eqx.field(static=True)

    def __init__(self, shape: tuple[int, ...], *, key: PRNGKeyArray) -> None:
        self.channels_first = shape[0] < shape[-1]
        *sides, channels = (*shape[1:], shape[0]) if self.channels_first else shape
        nature = min(sides) >= 36
        layers, padding = (NATURE, "VALID") if nature else (SMALL, "SAME")
        keys = jax.random.split(key, len(layers) + 1)
        convolutions: list[Convolution] = []
        for i, (size, kernel, stride) in enumerate(layers):
            convolutions.append(Convolution(channels, size, kernel, stride, padding, keys[i]))
            sides = [(n - kernel) // stride + 1 if nature else -(-n // stride) for n in sides]
            channels = size
        self.convolutions = tuple(convolutions)
        self.dense = Dense(math.prod(sides) * channels, FEATURES, gain=2**0.5, key=keys[-1])

    def __call__(self, inputs: Inputs) -> Float[Array, "B h"]:
        """Features of each image."""
        images = inputs.observation
        if by_product(images):
            x = few_at_a_time(self._convolved, images)
        else:
            x = self._convolved(images)
        return jax.nn.relu(self.dense(x.reshape(x.shape[0], -1)))

    def _convolved(self, images: Shaped[Array, "B *S"]) -> Float[Array, "B y x o"]:
        """What the last convolution makes of images."""
        x = as_float(images)
        if self.channels_first:
            x = jnp.moveaxis(x, 1, -1)
        for convolution in self.convolutions:
            x = convolution(x)
        return x


class ImagesAndNumbers(eqx.Module):
    """Rows of numbers and images: the features of each image join the numbers, then hidden layers.

    Each image has convolutions of its own; the numbers are passed on unchanged.
    """

    images: tuple[CNN, ...]
    layers: MLP
    numbers: int = eqx.field(static=True)
    shapes: tuple[tuple[int, ...], ...] = eqx.field(static=True)

    def __init__(
        self, numbers: int, shapes: tuple[tuple[int, ...], ...], layers: MLP, *, key: PRNGKeyArray
    ) -> None:
        """Rows begin with so many ``numbers``; then comes an image of each of the ``shapes``."""
        keys = jax.random.split(key, len(shapes))
        self.images = tuple(CNN(shape, key=k) for shape, k in zip(shapes, keys, strict=True))
        self.layers, self.numbers, self.shapes = layers, numbers, shapes

    def __call__(self, inputs: Inputs) -> Float[Array, "B h"]:
        """Features of each row."""
        rows = inputs.observation
        parts, first = [rows[:, : self.numbers]], self.numbers
        for shape, image in zip(self.shapes, self.images, strict=True):
            end = first + math.prod(shape)
            seen = rows[:, first:end].reshape(rows.shape[0], *shape)
            parts.append(image(inputs._replace(observation=seen)))
            first = end
        return self.layers(inputs._replace(observation=jnp.concatenate(parts, axis=1)))
