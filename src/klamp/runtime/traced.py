"""A traced function as a flat list of operations, to be computed without JAX."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.extend.core import Literal
from numpy.typing import DTypeLike

INLINED = {
    "jit": "jaxpr",
    "pjit": "jaxpr",
    "custom_jvp_call": "call_jaxpr",
    "custom_vjp_call": "call_jaxpr",
    "remat2": "jaxpr",
}
"""Calls of functions, by the parameter that holds the function."""
NAMED = "name"
"""Gives a value a name for ``jax.checkpoint``, and computes nothing."""


class UntranslatableError(Exception):
    """A function has an operation that is not translated; the text is its name."""


class Operation(NamedTuple):
    """One primitive of JAX: what it computes from which values."""

    primitive: Any
    parameters: dict[str, Any]
    operands: list[int]
    """Numbers of values."""
    results: list[int]

    @property
    def name(self) -> str:
        """The name of the primitive."""
        return self.primitive.name


class Program(NamedTuple):
    """The operations of a function in order, calls of other functions inlined; values by number."""

    inputs: list[int]
    outputs: list[int]
    shapes: list[Any]
    """The shape and dtype of each value."""
    constants: dict[int, np.ndarray]
    operations: list[Operation]
    tree: Any
    """The structure of what the function returns."""


def trace(function: Callable[..., Any], *arguments: object) -> Program:
    """The program of ``function(*arguments)``; arguments may be shapes only, symbolic ones too."""
    closed, shape = jax.make_jaxpr(function, return_shape=True)(*arguments)
    program = Program([], [], [], {}, [], jax.tree.structure(shape))
    program.inputs.extend(_new(program, variable.aval) for variable in closed.jaxpr.invars)
    program.outputs.extend(_read(program, closed.jaxpr, closed.consts, program.inputs))
    return program


def _new(program: Program, shape: Any) -> int:
    program.shapes.append(shape)
    return len(program.shapes) - 1


def _constant(program: Program, value: Any, shape: Any) -> int:
    number = _new(program, shape)
    program.constants[number] = np.asarray(value, shape.dtype)
    return number


def _read(program: Program, jaxpr: Any, constants: Any, inputs: list[int]) -> list[int]:
    """Append the operations of a jaxpr; the numbers of its results."""
    known: dict[Any, int] = dict(zip(jaxpr.invars, inputs, strict=True))
    for variable, value in zip(jaxpr.constvars, constants, strict=True):
        known[variable] = _constant(program, value, variable.aval)

    def find(variable: Any) -> int:
        if isinstance(variable, Literal):
            return _constant(program, variable.val, variable.aval)
        return known[variable]

    for equation in jaxpr.eqns:
        operands = [find(variable) for variable in equation.invars]
        name = equation.primitive.name
        if name in INLINED:
            inner = equation.params[INLINED[name]]
            body = getattr(inner, "jaxpr", inner)  # without constants, it is the function itself
            results = _read(program, body, getattr(inner, "consts", ()), operands)
        elif name == NAMED:
            results = operands
        else:
            results = [_new(program, variable.aval) for variable in equation.outvars]
            called = (equation.primitive, equation.params)
            program.operations.append(Operation(*called, operands, results))
        known.update(zip(equation.outvars, results, strict=True))
    return [find(variable) for variable in jaxpr.outvars]


def is_floating(dtype: DTypeLike) -> bool:
    """Whether a dtype is one of floating-point numbers."""
    return bool(np.issubdtype(dtype, np.floating))


def means_the_same(name: str, operands: list[Any]) -> bool:
    """Whether a primitive on such operands is what ``numpy_policy.ELEMENTWISE`` computes.

    Division and logic differ for integers, and a choice among more than two cases is another
    operation.
    """
    match name:
        case "div" | "pow":
            return all(is_floating(operand.dtype) for operand in operands)
        case "and" | "or" | "not":
            return all(operand.dtype == np.bool_ for operand in operands)
        case "select_n":
            return len(operands) == 3 and operands[0].dtype == np.bool_
        case _:
            return True
