"""A graph computes what is constant at once, keeps nothing twice and nothing that is not needed."""

import numpy as np

from klamp.evaluation.export.graph import Graph, Value

FLOAT = np.dtype(np.float32)


def test_constants_are_computed_and_equal_nodes_are_one():
    graph = Graph()
    x = graph.input("x", Value((None, 2), FLOAT))
    weight = graph.transpose(graph.constant(np.arange(6, dtype=np.float32).reshape(3, 2)), [1, 0])
    np.testing.assert_array_equal(graph.constants[weight], np.arange(6).reshape(3, 2).T)
    first, second = (graph.add("matmul", [x, weight], Value((None, 3), FLOAT)) for _ in range(2))
    assert first == second
    assert [node.name for node in graph.nodes] == ["matmul"]
    assert graph.reshape(x, (None, 2)) == graph.convert(x, FLOAT) == graph.transpose(x, [0, 1]) == x


def test_what_no_output_needs_is_dropped():
    graph = Graph()
    x = graph.input("x", Value((None, 2), FLOAT))
    kept = graph.add("tanh", [x], Value((None, 2), FLOAT))
    graph.add("exp", [x], Value((None, 2), FLOAT))
    graph.constant(np.zeros(3))
    graph.outputs["y"] = kept
    rest = graph.pruned()
    assert [node.name for node in rest.nodes] == ["tanh"]
    assert rest.constants == {}
    assert rest.inputs == {"x": x}
