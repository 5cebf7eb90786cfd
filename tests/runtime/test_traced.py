"""The flat operations of a function are those that JAX traces."""

import jax
import jax.numpy as jnp
import numpy as np
from jax.ad_checkpoint import checkpoint_name

from klamp.runtime.traced import Program, means_the_same, trace


def run(program: Program, *inputs):
    """What the operations compute, one after another, by JAX itself."""
    values = dict(program.constants) | dict(zip(program.inputs, inputs, strict=True))
    for operation in program.operations:
        operands = [values[number] for number in operation.operands]
        found = operation.primitive.bind(*operands, **operation.parameters)
        several = operation.primitive.multiple_results
        values.update(zip(operation.results, found if several else [found], strict=True))
    return jax.tree.unflatten(program.tree, [values[number] for number in program.outputs])


def test_the_operations_of_inlined_functions_compute_what_the_function_does():
    weight = jnp.arange(6.0).reshape(3, 2)

    def function(x, y):
        return {"a": jax.nn.relu(x @ weight), "b": (jax.jit(jax.nn.softplus)(y), y)}

    x, y = np.ones((4, 3), np.float32), np.linspace(-3, 3, 5, dtype=np.float32)
    program = trace(function, x, y)
    assert not {"jit", "pjit", "custom_jvp_call"} & {op.name for op in program.operations}
    found, wanted = run(program, x, y), function(x, y)
    assert jax.tree.structure(found) == jax.tree.structure(wanted)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), found, wanted)


def test_what_only_derivatives_look_at_is_left_out():
    @jax.checkpoint
    def function(x):
        return checkpoint_name(jnp.tanh(x), "kept") * 2

    x = np.linspace(-3, 3, 5, dtype=np.float32)
    program = trace(function, x)
    assert [operation.name for operation in program.operations] == ["tanh", "mul"]
    np.testing.assert_allclose(run(program, x), function(x), rtol=1e-6)


def test_integers_are_not_taken_for_numbers_or_truth():
    whole, real, truth = (jax.ShapeDtypeStruct((), kind) for kind in (int, float, bool))
    assert means_the_same("div", [real, real])
    assert not means_the_same("div", [whole, whole])
    assert means_the_same("and", [truth, truth])
    assert not means_the_same("and", [whole, whole])
    assert means_the_same("select_n", [truth, real, real])
    assert not means_the_same("select_n", [whole, real, real, real])
