from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from klamp.runtime.cpu_matmul import OVER_ROWS, rows_first

DRAW = np.random.default_rng(0)
BATCH = jnp.asarray(DRAW.normal(size=(96, 5)), jnp.float32)
LAYERS = {
    "weight": jnp.asarray(DRAW.normal(size=(5, 7)), jnp.float32),
    "bias": jnp.asarray(DRAW.normal(size=7), jnp.float32),
    "last": jnp.asarray(DRAW.normal(size=(7, 3)), jnp.float32),
}


def loss(layers, x):
    hidden = jnp.tanh(x @ layers["weight"] + layers["bias"])
    return jnp.sum(jax.nn.log_softmax(hidden @ layers["last"]) * x[:, :3])


def assert_close(found, expected):
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)


def products(function, *arguments):
    """The dimension numbers of all products of two matrices at the top of a function."""
    return [
        equation.params["dimension_numbers"]
        for equation in jax.make_jaxpr(function)(*arguments).eqns
        if equation.primitive.name == "dot_general"
        and all(operand.aval.ndim == 2 for operand in equation.invars)
    ]


def test_a_gradient_is_the_same_without_products_over_rows():
    plain = jax.grad(loss)
    assert_close(jax.jit(rows_first(plain))(LAYERS, BATCH), jax.jit(plain)(LAYERS, BATCH))
    assert products(plain, LAYERS, BATCH).count(OVER_ROWS) == 2
    assert OVER_ROWS not in products(rows_first(plain), LAYERS, BATCH)


def test_what_is_restated_maps_scans_and_differentiates():
    many = jax.tree.map(lambda leaf: jnp.stack([leaf, 2 * leaf]), LAYERS)

    @partial(jax.jit, static_argnums=0)
    def used(gradient):
        def step(at, _):
            moved = jax.tree.map(lambda a, g: a - 1e-3 * g, at, gradient(at, BATCH))
            return moved, None

        mapped = jax.vmap(gradient, in_axes=(0, None))(many, BATCH)
        curvature = jax.jvp(lambda at: gradient(at, BATCH), (LAYERS,), (LAYERS,))[1]
        return mapped, curvature, jax.lax.scan(step, LAYERS, None, length=3)[0]

    plain = jax.grad(loss)
    assert_close(used(rows_first(plain)), used(plain))


@pytest.mark.parametrize(
    "function",
    [
        lambda x: jnp.sum(x.reshape(2, 48, 5), axis=0),
        lambda x: jnp.sum(jnp.arange(12).reshape(4, 3), axis=0),
        lambda x: jnp.einsum("bi,bi->b", x, x),
        lambda x: jnp.sum(x, axis=1),
        lambda x: jax.lax.cond(x[0, 0] > 0, jnp.sin, jnp.cos, x),
        lambda x: (x.T @ x, {"rows": x[3:], "nothing": None}),
    ],
)
def test_other_functions_are_left_as_they_are(function):
    found, expected = jax.jit(rows_first(function))(BATCH), jax.jit(function)(BATCH)
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    assert_close(found, expected)


def test_sums_over_rows_count_in_their_own_type():
    whole = rows_first(lambda x: jnp.sum(x, axis=0))
    counts = jnp.full((2, 1), 2**24 + 1)
    assert whole(counts)[0] == 2**25 + 2
    assert whole(jnp.full((2, 1), 2**24)).dtype == counts.dtype


def test_a_device_that_is_no_cpu_gets_the_function_itself(monkeypatch):
    monkeypatch.setattr("klamp.runtime.cpu_matmul.cpu", lambda: False)
    assert rows_first(loss) is loss
