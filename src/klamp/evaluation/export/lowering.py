"""From a function to a ``Graph``: its JAX primitives as a few kinds of operations.

An operation that is neither elementwise nor in ``primitives`` is refused by its name.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import export
from jax.errors import InconclusiveDimensionOperation

from klamp.evaluation.export.graph import Graph, Shape, Value
from klamp.evaluation.export.primitives import RULES
from klamp.runtime.numpy_policy import ELEMENTWISE
from klamp.runtime.traced import Program, UntranslatableError, means_the_same, trace

REFUSALS = (TypeError, ValueError, NotImplementedError, InconclusiveDimensionOperation)
"""What JAX's operations raise, each its own, where a number of rows may not be open."""


def rows() -> Any:
    """The number of rows, as a symbol."""
    return export.symbolic_shape("rows")[0]


def graph_of(
    function: Callable[[dict[str, Any]], dict[str, Any]],
    inputs: dict[str, Value],
    outputs: Callable[[str, Value], Any] = lambda name, value: value.dtype,
) -> Graph:
    """The graph of a function from arrays by name to arrays by name.

    ``inputs`` have the dtypes that are given, which JAX may make narrower; ``outputs`` says which
    dtype a result gets. Raises ``UntranslatableError``.
    """
    count = rows()
    shapes = {
        name: jax.ShapeDtypeStruct(
            tuple(count if size is None else size for size in value.shape),
            jax.dtypes.canonicalize_dtype(value.dtype),
        )
        for name, value in inputs.items()
    }
    names: list[str] = []

    def ordered(given: dict[str, Any]) -> list[Any]:
        found = {name: jnp.asarray(value) for name, value in function(given).items()}
        names.extend(found)
        return list(found.values())

    try:
        program = trace(ordered, shapes)
    except REFUSALS as error:
        reason = str(error).split("\n", maxsplit=1)[0]
        raise UntranslatableError(f"{reason}, where the number of rows is open") from error
    graph = Graph()
    known = {number: graph.constant(array) for number, array in program.constants.items()}
    # The leaves of a dictionary come in the order of its keys.
    for name, number in zip(sorted(inputs), program.inputs, strict=True):
        known[number] = graph.convert(graph.input(name, inputs[name]), shapes[name].dtype)
    graph.inputs = {name: graph.inputs[name] for name in inputs}
    _lower(graph, program, known)
    for name, number in zip(names, program.outputs, strict=True):
        result = known[number]
        graph.outputs[name] = graph.convert(result, outputs(name, graph.values[result]))
    return graph.pruned()


def _lower(graph: Graph, program: Program, known: dict[int, int]) -> None:
    """Append what a program computes; ``known`` gets the graph's number of each of its values."""
    for operation in program.operations:
        operands = [known[number] for number in operation.operands]
        values = [_value(program.shapes[number]) for number in operation.results]
        fixed = all(number in graph.constants for number in operands)
        known_now = fixed and not any(None in value.shape for value in values)
        if known_now and operation.name != "dim_as_value":
            # Computed now, whatever it is.
            arrays = [graph.constants[number] for number in operands]
            found = operation.primitive.bind(*arrays, **operation.parameters)
            several = operation.primitive.multiple_results
            results = [graph.constant(array) for array in (found if several else [found])]
        elif operation.name in RULES:
            results = RULES[operation.name](graph, operands, operation.parameters, values)
        elif operation.name in ELEMENTWISE and means_the_same(
            operation.name, [graph.values[number] for number in operands]
        ):
            results = [graph.add(operation.name, operands, values[0])]
        else:
            raise UntranslatableError(operation.name)
        known.update(zip(operation.results, results, strict=True))


def _value(aval: Any) -> Value:
    return Value(_shape(aval.shape), np.dtype(aval.dtype))


def _shape(sizes: Any) -> Shape:
    """Sizes with None for one that depends on the number of rows."""
    shape = tuple(int(size) if isinstance(size, int | np.integer) else None for size in sizes)
    if shape.count(None) > 1:
        raise UntranslatableError("an array with two axes that depend on the number of rows")
    return shape
