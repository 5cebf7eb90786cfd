"""A function as a graph of few kinds of operations, from which every format is written.

Kinds and parameters are those of ``runtime.numpy_policy``; None in a shape stands for any number of
rows.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike

from klamp.runtime.numpy_policy import compute

Shape = tuple[int | None, ...]


class Value(NamedTuple):
    """Shape and dtype of a value."""

    shape: Shape
    dtype: np.dtype[Any]


class Node(NamedTuple):
    """One operation on the values of these numbers."""

    name: str
    operands: list[int]
    result: int
    parameters: dict[str, Any]


class Graph:
    """Nodes in the order in which they are computed; what is constant is computed at once."""

    def __init__(self) -> None:
        self.values: list[Value] = []
        self.constants: dict[int, np.ndarray] = {}
        self.nodes: list[Node] = []
        self.inputs: dict[str, int] = {}
        self.outputs: dict[str, int] = {}

    def input(self, name: str, value: Value) -> int:
        """An input."""
        self.inputs[name] = self._new(value)
        return self.inputs[name]

    def constant(self, array: object) -> int:
        """A constant."""
        array = np.asarray(array)
        number = self._new(Value(array.shape, array.dtype))
        self.constants[number] = array
        return number

    def add(self, name: str, operands: list[int], value: Value, **parameters: Any) -> int:
        """The result of an operation."""
        if None not in value.shape and all(number in self.constants for number in operands):
            known = [self.constants[number] for number in operands]
            with np.errstate(all="ignore"):
                return self.constant(compute(name, known, 1, parameters).astype(value.dtype))
        for node in self.nodes:
            if (node.name, node.operands, node.parameters) == (name, operands, parameters):
                return node.result
        self.nodes.append(Node(name, operands, self._new(value), parameters))
        return self.nodes[-1].result

    def reshape(self, x: int, shape: Shape) -> int:
        """The same numbers in another shape."""
        here = self.values[x]
        if here.shape == shape:
            return x
        return self.add("reshape", [x], Value(shape, here.dtype), shape=list(shape))

    def transpose(self, x: int, permutation: list[int]) -> int:
        """The axes in another order."""
        here = self.values[x]
        if permutation == list(range(len(here.shape))):
            return x
        moved = Value(tuple(here.shape[axis] for axis in permutation), here.dtype)
        return self.add("transpose", [x], moved, permutation=permutation)

    def convert(self, x: int, dtype: DTypeLike) -> int:
        """The same numbers in another dtype."""
        here, dtype = self.values[x], np.dtype(dtype)
        if here.dtype == dtype:
            return x
        return self.add("convert", [x], Value(here.shape, dtype), dtype=dtype.name)

    def pruned(self) -> "Graph":
        """The graph without nodes that no output needs."""
        needed = set(self.outputs.values())
        kept: list[Node] = []
        for node in reversed(self.nodes):
            if node.result in needed:
                kept.append(node)
                needed.update(node.operands)
        rest = Graph()
        rest.values, rest.inputs, rest.outputs = self.values, self.inputs, self.outputs
        rest.nodes = kept[::-1]
        rest.constants = {n: array for n, array in self.constants.items() if n in needed}
        return rest

    def _new(self, value: Value) -> int:
        self.values.append(value)
        return len(self.values) - 1
