"""Each operation means in numpy and in ONNX what it means in JAX, for any number of rows."""

import io

import jax
import jax.numpy as jnp
import numpy as np
import onnx
import onnxruntime
import pytest

from klamp.evaluation.export.graph import Value
from klamp.evaluation.export.lowering import graph_of
from klamp.evaluation.export.numpy_archive import numpy_archive
from klamp.evaluation.export.onnx_model import onnx_model
from klamp.evaluation.export.policy_graph import ExportedPolicy
from klamp.runtime.numpy_policy import NumpyPolicy
from klamp.runtime.traced import UntranslatableError

WEIGHT = jnp.asarray(np.random.default_rng(0).normal(size=(6, 5)), jnp.float32)
KERNEL = jnp.asarray(np.random.default_rng(1).normal(size=(2, 3, 2, 4)), jnp.float32)

# x is [rows, 6]; c [rows, 4, 5, 2]; k [rows, 6] of integers; b [rows] of truth values.
FUNCTIONS = {
    "product and bias": lambda x, c, k, b: x @ WEIGHT + 1,
    "activations": lambda x, c, k, b: [
        f(x) for f in (jax.nn.relu, jax.nn.elu, jax.nn.gelu, jax.nn.silu, jnp.tanh, jax.nn.softplus)
    ],
    "functions": lambda x, c, k, b: [
        f(x) for f in (jnp.sin, jnp.cos, jnp.floor, jnp.ceil, jnp.sign, jnp.square, jnp.expm1)
    ],
    "near zero": lambda x, c, k, b: [jnp.expm1(x * 1e-6) * 1e6, jnp.log1p(x**2 * 1e-7) * 1e7],
    "powers and roots": lambda x, c, k, b: [x**3, jnp.sqrt(x**2), jax.lax.rsqrt(1 + x**4)],
    "softmax": lambda x, c, k, b: [jax.nn.softmax(x), jax.nn.log_softmax(x, axis=-1)],
    "layer norm": lambda x, c, k, b: (
        (x - x.mean(1, keepdims=True)) / jnp.sqrt(x.var(1, keepdims=True) + 1e-5)
    ),
    "sums": lambda x, c, k, b: [x.sum(1), x.max(1), x.min(1), c.sum((1, 3)), (x / 3).prod(1)],
    "all and any": lambda x, c, k, b: [(x > -1).all(1), (x > 1).any(1), (x > 0) & ~b[:, None]],
    "best": lambda x, c, k, b: [x.argmax(1), x.argmin(1), jnp.stack([x.argmax(1)] * 2, 1)],
    "choices": lambda x, c, k, b: jnp.where(b[:, None], x, jnp.clip(x, -0.5, 0.5)),
    "comparisons": lambda x, c, k, b: [x > 0, x >= 0, x < 0, x <= 0, x == 0, x != 0, k != 2],
    "one-hot": lambda x, c, k, b: (k[:, np.array([0, 0, 3])] == jnp.array([0, 1, 2])) * 1.0,
    "slices": lambda x, c, k, b: [x[:, 1:4], x[:, ::2], x[:, -1], c[:, 1:3, ::2, 0]],
    "splits": lambda x, c, k, b: jnp.split(x, 3, 1),
    "shapes": lambda x, c, k, b: [c.reshape(c.shape[0], -1), jnp.moveaxis(c, 1, -1), x[:, None]],
    "joined": lambda x, c, k, b: [
        jnp.concatenate([x, k.astype(jnp.float32)], 1),
        jnp.stack([x, x], 1),
        jnp.pad(c, ((0, 0), (1, 2), (0, 1), (0, 0)), constant_values=3),
    ],
    "constants for each row": lambda x, c, k, b: [x + jnp.full(x.shape, 2.0), jnp.zeros(x.shape)],
    "attention": lambda x, c, k, b: jnp.einsum("bihw,bjhw->bij", c, c),
    "weights of each row": lambda x, c, k, b: jax.vmap(lambda row: WEIGHT.T @ row)(x),
    "convolution": lambda x, c, k, b: [
        jax.lax.conv_general_dilated(
            c, KERNEL, (1, 2), padding, dimension_numbers=("NHWC", "HWIO", "NHWC")
        )
        for padding in ("VALID", "SAME")
    ],
    "grouped convolution": lambda x, c, k, b: jax.lax.conv_general_dilated(
        jnp.moveaxis(c, -1, 1), KERNEL[:, :, :1].transpose(3, 2, 0, 1), (1, 1), "VALID",
        feature_group_count=2,
    ),
}  # fmt: skip
INPUTS = {
    "b": Value((None,), np.dtype(bool)),
    "c": Value((None, 4, 5, 2), np.dtype(np.float32)),
    "k": Value((None, 6), np.dtype(np.int64)),
    "x": Value((None, 6), np.dtype(np.float32)),
}


def named(function):
    """The function from arrays by name to arrays by name."""

    def call(given):
        leaves = jax.tree.leaves(function(given["x"], given["c"], given["k"], given["b"]))
        return {f"out {i}": leaf for i, leaf in enumerate(leaves)}

    return call


def drawn(rows):
    rng = np.random.default_rng(2)
    return {
        "b": rng.random(rows) < 0.5,
        "c": rng.normal(size=(rows, 4, 5, 2)).astype(np.float32),
        "k": rng.integers(0, 4, (rows, 6)),
        "x": rng.normal(size=(rows, 6)).astype(np.float32),
    }


@pytest.mark.parametrize("name", FUNCTIONS)
def test_operations_mean_the_same_everywhere(name):
    function = named(FUNCTIONS[name])
    graph = graph_of(function, INPUTS)
    exported = ExportedPolicy(graph, "x", "out 0", {})
    model, archive = onnx_model(exported), numpy_archive(exported)
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    runner = NumpyPolicy(io.BytesIO(archive))
    used = {one.name for one in session.get_inputs()}
    compiled = jax.jit(function)
    for rows in (1, 7):
        given = drawn(rows)
        wanted = compiled(given)
        by_onnx = session.run(list(wanted), {key: given[key] for key in given if key in used})
        by_numpy = runner(**given)
        for (key, array), other in zip(wanted.items(), by_onnx, strict=True):
            for found in (other, by_numpy[key]):
                assert (found.shape, found.dtype) == (array.shape, array.dtype)
                np.testing.assert_allclose(found, array, rtol=2e-5, atol=2e-6)
    assert onnx.load_model_from_string(model).opset_import[0].version == 18


@pytest.mark.parametrize(
    ("function", "named_as"),
    [
        (lambda x, c, k, b: jnp.cumsum(x, axis=1), "cumsum"),
        (lambda x, c, k, b: x - x.sum(0), "reduce_sum over the rows"),
        (lambda x, c, k, b: WEIGHT[k[:, 0]], "gather by numbers that depend on the observation"),
    ],
)  # fmt: skip
def test_a_use_that_is_not_known_is_refused_by_its_name(function, named_as):
    with pytest.raises(UntranslatableError, match=named_as):
        graph_of(named(function), INPUTS)
