"""A traced function as a sequence of numpy calls: for work too small for a compiled program.

Calling a compiled program costs a small policy more than its arithmetic: 18 µs for eight rows and
two layers of 64, where numpy needs 10. The environment's own numpy code then runs at half its
speed, too: the two together no longer fit the processor's caches of instructions and branches, and
a step of CartPole's vector environment with its action takes 105 µs in place of 54.
"""

from collections.abc import Callable
from contextvars import copy_context
from functools import partial
from typing import Any, NamedTuple

import jax
import numpy as np

from klamp.runtime.numpy_policy import ELEMENTWISE
from klamp.runtime.traced import (
    Operation,
    Program,
    UntranslatableError,
    is_floating,
    means_the_same,
    trace,
)

MULTIPLY_ADDS = 2**18
"""The largest product that is left to numpy: from here on a compiled program is faster, and
numpy's library would share the work among threads."""


class Call(NamedTuple):
    """One numpy call: where its result goes, and where its arguments lie."""

    result: int
    function: Callable[..., Any]
    first: int
    """−1 where there are more than two: the function then takes them from all values itself."""
    second: int = -1
    """−1 where there is but one."""


class Translation:
    """``function(known, *rest)`` as numpy calls; raises ``UntranslatableError`` where it is none.

    ``begin(known)`` computes what follows from the first argument alone and returns the function
    of the rest: their leaves in, arrays of numpy, and a tree of those out.
    """

    def __init__(self, function: Callable[..., Any], known: object, *rest: object) -> None:
        program = trace(function, known, *rest)
        self._values = [program.constants.get(number) for number in range(len(program.shapes))]
        self._tree, self._outputs = program.tree, program.outputs
        fixed = len(jax.tree.leaves(known))
        self._known, self._rest = program.inputs[:fixed], program.inputs[fixed:]
        late = set(self._rest)
        self._first: list[Call] = []
        self._then: list[Call] = []
        for operation in program.operations:
            varies = bool(late.intersection(operation.operands))
            calls = self._then if varies else self._first
            for result, called in zip(
                operation.results, _translated(program, operation), strict=True
            ):
                calls.append(_call(result, called, operation.operands))
            late.update(operation.results if varies else ())

    def begin(self, known: object) -> Callable[..., Any]:
        """What follows from ``known`` is computed here, once."""
        values = list(self._values)
        for slot, leaf in zip(self._known, jax.tree.leaves(known), strict=True):
            values[slot] = np.asarray(leaf)
        # Like a compiled program, silent about what a NaN leads to; set once, not at every call.
        silent = copy_context()
        silent.run(np.seterr, all="ignore")
        silent.run(_run, self._first, values)
        for call in self._first:
            # A bias with a row for each environment is added in half the time of one that numpy
            # has to repeat.
            values[call.result] = np.asarray(values[call.result], order="C")
        then, outputs, tree = self._then, self._outputs, self._tree
        low, high = self._rest[0], self._rest[-1] + 1  # slots in a row
        single = tree == jax.tree.structure(0)

        def finish(*leaves: Any) -> Any:
            values[low:high] = leaves
            silent.run(_run, then, values)
            if single:
                return values[outputs[0]]
            return jax.tree.unflatten(tree, [values[slot] for slot in outputs])

        return finish


def translate(function: Callable[..., Any], known: object, *rest: object) -> Translation | None:
    """The translation of ``function(known, *rest)``, if there is one."""
    try:
        return Translation(function, known, *rest)
    except UntranslatableError:
        return None


def _run(calls: list[Call], values: list[Any]) -> None:
    for result, function, first, second in calls:
        if second >= 0:
            values[result] = function(values[first], values[second])
        elif first >= 0:
            values[result] = function(values[first])
        else:
            values[result] = function(values)


def _call(result: int, function: Callable[..., Any], arguments: list[int]) -> Call:
    if 0 < len(arguments) <= 2:
        return Call(result, function, *arguments)
    return Call(result, lambda values: function(*map(values.__getitem__, arguments)), -1)


def _translated(program: Program, operation: Operation) -> list[Callable[..., Any]]:
    """One numpy function for each result of an operation."""
    name, parameters = operation.name, operation.parameters
    operands = [program.shapes[number] for number in operation.operands]
    shapes = [program.shapes[number].shape for number in operation.results]
    floating = all(is_floating(operand.dtype) for operand in operands)
    found: list[Callable[..., Any]] = []
    match name:
        case _ if name in ELEMENTWISE and means_the_same(name, operands):
            found = [ELEMENTWISE[name]]
        case "integer_pow" if floating:
            found = [partial(_power, exponent=parameters["y"])]
        case "dot_general" if _plain_product(parameters, *operands):
            found = [np.dot]  # the same of two matrices, and sooner begun than `matmul`
        case "reshape" | "squeeze" | "expand_dims":
            found = [partial(np.reshape, shape=shapes[0])]
        case "broadcast_in_dim":
            kept = dict(zip(parameters["broadcast_dimensions"], operands[0].shape, strict=True))
            placed = [kept.get(axis, 1) for axis in range(len(shapes[0]))]
            found = [partial(_broadcast, placed=placed, to=shapes[0])]
        case "slice":
            starts, limits = parameters["start_indices"], parameters["limit_indices"]
            steps = parameters["strides"] or (1,) * len(starts)
            found = [partial(_slice, index=tuple(map(slice, starts, limits, steps)))]
        case "split":
            ends = np.cumsum(parameters["sizes"])
            before = (slice(None),) * parameters["axis"]
            pieces = map(slice, ends - parameters["sizes"], ends)
            found = [partial(_slice, index=(*before, piece)) for piece in pieces]
        case "argmax" if len(parameters["axes"]) == 1:
            (axis,), kind = parameters["axes"], parameters["index_dtype"]
            found = [lambda x: x.argmax(axis).astype(kind)]
        case "concatenate":
            found = [partial(_join, by=np.concatenate, axis=parameters["dimension"])]
        case "stack":
            found = [partial(_join, by=np.stack, axis=parameters["axis"])]
        case "convert_element_type" if not floating or is_floating(parameters["new_dtype"]):
            # From a NaN, the two make different integers.
            found = [partial(_convert, kind=parameters["new_dtype"])]
        case _:
            raise UntranslatableError(name)
    return found


def _plain_product(parameters: Any, left: Any, right: Any) -> bool:
    """Whether a product is of two matrices, row by column, and small."""
    plain = parameters["dimension_numbers"] == (((1,), (0,)), ((), ()))
    small = left.size * right.shape[-1] <= MULTIPLY_ADDS
    return plain and left.ndim == right.ndim == 2 and small


def _power(x: Any, *, exponent: int) -> Any:
    return x**exponent


def _broadcast(x: Any, *, placed: list[int], to: tuple[int, ...]) -> Any:
    return np.broadcast_to(np.reshape(x, placed), to)


def _slice(x: Any, *, index: tuple[slice, ...]) -> Any:
    return x[index]


def _join(*parts: Any, by: Callable[..., Any], axis: int) -> Any:
    return by(parts, axis)


def _convert(x: Any, *, kind: Any) -> Any:
    return np.asarray(x).astype(kind)
