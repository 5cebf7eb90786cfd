"""JAX's primitives as operations of a ``Graph``: one function per primitive.

The number of rows is a symbol while the function is traced, so JAX writes slices as gathers with
constant starts, and shapes with the symbol in them. A use of a primitive that is not here is
refused by its name.
"""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from klamp.evaluation.export.graph import Graph, Shape, Value
from klamp.runtime.traced import UntranslatableError

Rule = Callable[[Graph, list[int], dict[str, Any], list[Value]], list[int]]
"""Graph, operands, parameters of the primitive, its results → the results' numbers."""


def _reshape(graph: Graph, operands: list[int], _: Any, values: list[Value]) -> list[int]:
    return [graph.reshape(operands[0], values[0].shape)]


def _broadcast(graph: Graph, operands: list[int], given: Any, values: list[Value]) -> list[int]:
    (x, *_), (value,) = operands, values
    shape, axes = graph.values[x].shape, given["broadcast_dimensions"]
    placed: list[int | None] = [1] * len(value.shape)
    for axis, size in zip(axes, shape, strict=True):
        placed[axis] = size
    x = graph.reshape(x, tuple(placed))
    if graph.values[x].shape == value.shape:
        return [x]
    for size in given["shape"]:
        if not isinstance(size, int | np.integer) and str(size) != "rows":
            raise UntranslatableError(f"broadcast_in_dim to {size}")
    return [graph.add("broadcast", [x], value, shape=list(value.shape))]


def _transpose(graph: Graph, operands: list[int], given: Any, _: Any) -> list[int]:
    return [graph.transpose(operands[0], [int(axis) for axis in given["permutation"]])]


def _convert(graph: Graph, operands: list[int], given: Any, _: Any) -> list[int]:
    return [graph.convert(operands[0], given["new_dtype"])]


def _slice(graph: Graph, operands: list[int], given: Any, values: list[Value]) -> list[int]:
    shape = graph.values[operands[0]].shape
    starts, steps = given["start_indices"], given["strides"] or (1,) * len(shape)
    index = [
        [None, None, 1] if size is None else [int(start), int(limit), int(step)]
        for size, start, limit, step in zip(
            shape, starts, given["limit_indices"], steps, strict=True
        )
    ]
    if values[0].shape.count(None) != shape.count(None):
        raise UntranslatableError("slice of the rows")
    return [graph.add("slice", operands, values[0], index=index)]


def _split(graph: Graph, operands: list[int], given: Any, values: list[Value]) -> list[int]:
    whole: list[list[int | None]] = [[None, None, 1] for _ in values[0].shape]
    ends = np.cumsum(given["sizes"]).tolist()
    found: list[int] = []
    for start, end, value in zip([0, *ends], ends, values, strict=False):
        index = [*whole]
        index[given["axis"]] = [start, end, 1]
        found.append(graph.add("slice", operands, value, index=index))
    return found


def _gather(graph: Graph, operands: list[int], given: Any, values: list[Value]) -> list[int]:
    """A slice with constant starts, or entries of each row by constant numbers."""
    x, indices = operands
    numbers, sizes = given["dimension_numbers"], given["slice_sizes"]
    if indices not in graph.constants or numbers.operand_batching_dims:
        raise UntranslatableError("gather by numbers that depend on the observation")
    shape, axes, found = graph.values[x].shape, numbers.start_index_map, graph.constants[indices]
    if found.ndim == 1:
        index: list[list[int | None]] = [[None, None, 1] for _ in shape]
        for axis, start in zip(axes, found.tolist(), strict=True):
            index[axis] = [start, start + sizes[axis], 1]
        taken = tuple(size if size is None else int(sizes[i]) for i, size in enumerate(shape))
        part = graph.add("slice", [x], Value(taken, values[0].dtype), index=index)
        return [graph.reshape(part, values[0].shape)]
    if shape[:1] != (None,) or 0 in axes or numbers.offset_dims[0] != 0:
        raise UntranslatableError("gather of rows")
    # The same entries of every row: found by gathering their numbers.
    inner = [size for size in shape[1:] if size is not None]
    entries = jnp.arange(math.prod(inner)).reshape(1, *inner)
    one = (1, *sizes[1:])
    flat = np.asarray(jax.lax.gather(entries, found, numbers, one, mode=given["mode"])).ravel()
    row = graph.reshape(x, (None, entries.size))
    chosen = [row, graph.constant(flat.astype(np.int64))]
    taken = Value((None, flat.size), values[0].dtype)
    return [graph.reshape(graph.add("take", chosen, taken, axis=1), values[0].shape)]


def _dynamic_slice(graph: Graph, operands: list[int], given: Any, values: list[Value]) -> list[int]:
    x, *starts = operands
    if not all(number in graph.constants for number in starts):
        raise UntranslatableError("dynamic_slice by numbers that depend on the observation")
    index: list[list[int | None]] = []
    for axis, size in enumerate(graph.values[x].shape):
        start, taken = int(graph.constants[starts[axis]]), given["slice_sizes"][axis]
        begin = 0 if size is None else min(max(start, 0), size - taken)
        index.append([None, None, 1] if size is None else [begin, begin + taken, 1])
    return [graph.add("slice", [x], values[0], index=index)]


def _concatenate(graph: Graph, operands: list[int], given: Any, values: list[Value]) -> list[int]:
    return [graph.add("concatenate", operands, values[0], axis=int(given["dimension"]))]


def _stack(graph: Graph, operands: list[int], given: Any, values: list[Value]) -> list[int]:
    axis = int(given["axis"])
    sizes = [*values[0].shape]
    sizes[axis] = 1
    parts = [graph.reshape(number, tuple(sizes)) for number in operands]
    return [graph.add("concatenate", parts, values[0], axis=axis)]


def _pad(graph: Graph, operands: list[int], given: Any, values: list[Value]) -> list[int]:
    x, filling = operands
    config = [tuple(map(int, each)) for each in given["padding_config"]]
    if filling not in graph.constants or any(min(each) < 0 or each[2] for each in config):
        raise UntranslatableError("pad within an array")
    widths, value = [[low, high] for low, high, _ in config], graph.constants[filling].item()
    return [graph.add("pad", [x], values[0], widths=widths, filling=value)]


def _power(graph: Graph, operands: list[int], given: Any, values: list[Value]) -> list[int]:
    return [graph.add("integer_pow", operands, values[0], exponent=int(given["y"]))]


def _reduction(name: str) -> Rule:
    def reduce(graph: Graph, operands: list[int], given: Any, values: list[Value]) -> list[int]:
        axes = [int(axis) for axis in given["axes"]]
        if any(graph.values[operands[0]].shape[axis] is None for axis in axes):
            raise UntranslatableError(f"{name} over the rows")
        if name.startswith("arg"):
            return [graph.add(name, operands, values[0], axis=axes[0])]
        return [graph.add(name, operands, values[0], axes=axes)]

    return reduce


def _truth(name: str) -> Rule:
    """All or any, as the least or greatest of 0 and 1."""
    reduce = _reduction(name)

    def among(graph: Graph, operands: list[int], given: Any, values: list[Value]) -> list[int]:
        number = [Value(values[0].shape, np.dtype(np.int32))]
        (found,) = reduce(graph, [graph.convert(operands[0], np.int32)], given, number)
        return [graph.convert(found, np.bool_)]

    return among


def _dot(graph: Graph, operands: list[int], given: Any, values: list[Value]) -> list[int]:
    """Any contraction as one product of matrices, with the axes moved before and after it."""
    (x, y), ((contract_x, contract_y), (batch_x, batch_y)) = operands, given["dimension_numbers"]
    shape_x, shape_y = graph.values[x].shape, graph.values[y].shape
    free_x = [i for i in range(len(shape_x)) if i not in (*contract_x, *batch_x)]
    free_y = [i for i in range(len(shape_y)) if i not in (*contract_y, *batch_y)]
    inner = tuple(shape_x[i] for i in contract_x)
    if None in inner:
        raise UntranslatableError("dot_general over the rows")
    before = tuple(shape_x[i] for i in batch_x)
    left, right = tuple(shape_x[i] for i in free_x), tuple(shape_y[i] for i in free_y)
    size = _product(inner)
    x = graph.transpose(x, [*batch_x, *free_x, *contract_x])
    y = graph.transpose(y, [*batch_y, *contract_y, *free_y])
    # Without axes in common, those of the left side pass through the product as they are.
    x = graph.reshape(x, (*before, _product(left), size) if before else (*left, size))
    y = graph.reshape(y, (*before, size, _product(right)))
    middle = (_product(left),) if before else left
    product = Value((*before, *middle, _product(right)), values[0].dtype)
    found = graph.add("matmul", [x, y], product)
    return [graph.reshape(found, values[0].shape)]


def _product(sizes: Shape) -> int | None:
    known = [size for size in sizes if size is not None]
    return math.prod(known) if len(known) == len(sizes) else None


def _convolution(graph: Graph, operands: list[int], given: Any, values: list[Value]) -> list[int]:
    x, weight = operands
    numbers = given["dimension_numbers"]
    dilated = {*given["lhs_dilation"], *given["rhs_dilation"], given["batch_group_count"]} != {1}
    if dilated or any(low < 0 or high < 0 for low, high in given["padding"]):
        raise UntranslatableError("conv_general_dilated with dilation")
    x = graph.transpose(x, [int(axis) for axis in numbers.lhs_spec])
    weight = graph.transpose(weight, [int(axis) for axis in numbers.rhs_spec])
    widths = [[0, 0], [0, 0], *([int(low), int(high)] for low, high in given["padding"])]
    here = graph.values[x]
    if any(map(any, widths)):
        padded = tuple(
            size if size is None else size + sum(width)
            for size, width in zip(here.shape, widths, strict=True)
        )
        x = graph.add("pad", [x], Value(padded, here.dtype), widths=widths, filling=0.0)
    placed = tuple(values[0].shape[axis] for axis in numbers.out_spec)
    strides, groups = [int(step) for step in given["window_strides"]], given["feature_group_count"]
    parameters = {"strides": strides, "groups": int(groups)}
    found = graph.add("convolve", [x, weight], Value(placed, values[0].dtype), **parameters)
    return [graph.transpose(found, [int(axis) for axis in np.argsort(numbers.out_spec)])]


RULES: dict[str, Rule] = {
    "argmax": _reduction("argmax"),
    "argmin": _reduction("argmin"),
    "broadcast_in_dim": _broadcast,
    "concatenate": _concatenate,
    "conv_general_dilated": _convolution,
    "convert_element_type": _convert,
    "dot_general": _dot,
    "dynamic_slice": _dynamic_slice,
    "expand_dims": _reshape,
    "gather": _gather,
    "integer_pow": _power,
    "pad": _pad,
    "reduce_and": _truth("reduce_min"),
    "reduce_max": _reduction("reduce_max"),
    "reduce_min": _reduction("reduce_min"),
    "reduce_or": _truth("reduce_max"),
    "reduce_prod": _reduction("reduce_prod"),
    "reduce_sum": _reduction("reduce_sum"),
    "reshape": _reshape,
    "slice": _slice,
    "split": _split,
    "squeeze": _reshape,
    "stack": _stack,
    "transpose": _transpose,
}
"""The rules of all primitives that are not elementwise, by name."""
