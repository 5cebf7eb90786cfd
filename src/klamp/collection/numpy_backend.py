"""A traced function as a sequence of numpy calls: for work too small for a compiled program.

Calling a compiled program costs a small policy more than its arithmetic: 18 µs for eight rows and
two layers of 64, where numpy needs 10. The environment's own numpy code then runs at half its
speed, too: the two together no longer fit what the processor keeps of code and branches, and a step
of CartPole's vector environment with its action takes 105 µs in place of 54.
"""

from collections.abc import Callable
from contextvars import copy_context
from functools import partial
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.extend.core import Literal

MULTIPLY_ADDS = 2**18
"""The largest product that is left to numpy: from here on a compiled program is faster, and
numpy's library would share the work among threads."""

ELEMENTWISE: dict[str, Callable[..., Any]] = {
    "abs": np.abs,
    "add": np.add,
    "add_any": np.add,
    "clamp": lambda low, x, high: np.minimum(np.maximum(x, low), high),
    "copy": np.asarray,
    "div": np.divide,
    "eq": np.equal,
    "exp": np.exp,
    "expm1": np.expm1,
    "ge": np.greater_equal,
    "gt": np.greater,
    "le": np.less_equal,
    "log": np.log,
    "log1p": np.log1p,
    "logistic": lambda x: 1 / (1 + np.exp(-x)),
    "lt": np.less,
    "max": np.maximum,
    "min": np.minimum,
    "mul": np.multiply,
    "ne": np.not_equal,
    "neg": np.negative,
    "select_n": lambda which, no, yes: np.where(which, yes, no),
    "sqrt": np.sqrt,
    "square": np.square,
    "stop_gradient": np.asarray,
    "sub": np.subtract,
    "tanh": np.tanh,
}
INLINED = {"jit": "jaxpr", "pjit": "jaxpr", "custom_jvp_call": "call_jaxpr"}
"""Calls of functions, by the parameter that holds the function."""


class UntranslatableError(Exception):
    """A function has an operation that is not translated."""


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

    def __init__(self, function: Callable[..., Any], known: Any, *rest: Any) -> None:
        closed, shape = jax.make_jaxpr(function, return_shape=True)(known, *rest)
        self._values: list[Any] = []
        self._tree = jax.tree.structure(shape)
        fixed = len(jax.tree.leaves(known))
        inputs = [self._new() for _ in closed.jaxpr.invars]
        self._known, self._rest = inputs[:fixed], inputs[fixed:]
        calls: list[tuple[Call, list[int]]] = []
        self._outputs = self._read(closed.jaxpr, closed.consts, inputs, calls)
        late = set(self._rest)
        self._first: list[Call] = []
        self._then: list[Call] = []
        for call, arguments in calls:
            varies = bool(late.intersection(arguments))
            (self._then if varies else self._first).append(call)
            late |= {call.result} if varies else set()

    def begin(self, known: Any) -> Callable[..., Any]:
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

    def _new(self, value: Any = None) -> int:
        self._values.append(value)
        return len(self._values) - 1

    def _read(self, jaxpr: Any, constants: Any, inputs: list[int], calls: list[Any]) -> list[int]:
        """Append the calls of a jaxpr; where its results lie."""
        slots: dict[Any, int] = dict(zip(jaxpr.invars, inputs, strict=True))
        for variable, value in zip(jaxpr.constvars, constants, strict=True):
            slots[variable] = self._new(np.asarray(value))

        def find(variable: Any) -> int:
            if isinstance(variable, Literal):
                aval: Any = variable.aval
                return self._new(np.asarray(variable.val, aval.dtype))
            return slots[variable]

        for equation in jaxpr.eqns:
            arguments = [find(variable) for variable in equation.invars]
            name = equation.primitive.name
            if name in INLINED:
                inner = equation.params[INLINED[name]]
                results = self._read(inner.jaxpr, inner.consts, arguments, calls)
                slots.update(zip(equation.outvars, results, strict=True))
                continue
            for out, called in zip(equation.outvars, _translated(equation), strict=True):
                slots[out] = self._new()
                calls.append((_call(slots[out], called, arguments), arguments))
        return [find(variable) for variable in jaxpr.outvars]


def translate(function: Callable[..., Any], known: Any, *rest: Any) -> Translation | None:
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


def _translated(equation: Any) -> list[Callable[..., Any]]:
    """One numpy function for each result of an equation."""
    name, parameters = equation.primitive.name, equation.params
    operands = [variable.aval for variable in equation.invars]
    shapes = [variable.aval.shape for variable in equation.outvars]
    floating = all(_floating(operand.dtype) for operand in operands)
    found: list[Callable[..., Any]] = []
    match name:
        case _ if name in ELEMENTWISE and _means_the_same(name, operands):
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
        case "convert_element_type" if not floating or _floating(parameters["new_dtype"]):
            # From a NaN, the two make different integers.
            found = [partial(_convert, kind=parameters["new_dtype"])]
        case _:
            raise UntranslatableError(name)
    return found


def _means_the_same(name: str, operands: Any) -> bool:
    """Integers are divided otherwise, and more than two cases chosen."""
    if name == "div":
        return all(_floating(operand.dtype) for operand in operands)
    return name != "select_n" or len(operands) == 3


def _floating(kind: Any) -> bool:
    return np.issubdtype(kind, np.floating)


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
