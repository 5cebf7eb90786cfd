"""From a function to its graph: inputs, outputs, constants, and what is refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from klamp.evaluation.export.graph import Value
from klamp.evaluation.export.lowering import graph_of
from klamp.runtime.traced import UntranslatableError

INPUTS = {"x": Value((None, 3), np.dtype(np.float64)), "k": Value((None,), np.dtype(np.int64))}


def test_a_graph_has_the_names_and_dtypes_that_are_asked_for() -> None:
    """JAX computes in float32; what is outside is as it is given and as it is asked for."""
    graph = graph_of(
        lambda given: {"twice": given["x"] * 2, "next": given["k"] + 1},
        INPUTS,
        lambda name, value: np.float64 if name == "twice" else value.dtype,
    )
    assert {name: graph.values[number] for name, number in graph.inputs.items()} == INPUTS
    found = {name: graph.values[number] for name, number in graph.outputs.items()}
    assert found["twice"] == Value((None, 3), np.dtype(np.float64))
    assert found["next"].shape == (None,)


def test_what_does_not_depend_on_the_inputs_is_a_constant() -> None:
    graph = graph_of(lambda given: {"y": given["x"] + jnp.sort(jnp.array([3.0, 1.0, 2.0]))}, INPUTS)
    assert [node.name for node in graph.nodes if node.name not in ("convert", "broadcast")] == [
        "add"
    ]


@pytest.mark.parametrize(
    ("function", "named_as"),
    [
        (lambda given: jnp.sort(given["x"], axis=1), "sort"),
        (lambda given: given["x"] @ given["x"].T, "two axes that depend on the number of rows"),
        (lambda given: jax.lax.cond(given["k"][0] > 0, jnp.sin, jnp.cos, given["x"]), "dim_as_v"),
        (lambda given: given["k"] // 2, "div"),
    ],
)
def test_what_is_not_known_is_refused_by_its_name(function, named_as) -> None:
    with pytest.raises(UntranslatableError, match=named_as):
        graph_of(lambda given: {"y": function(given)}, INPUTS)
