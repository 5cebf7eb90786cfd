"""A traced function as a program of numpy calls: for work too small for a compiled program.

Calling a compiled program costs a small policy more than its arithmetic: 18 µs for eight rows and
two layers of 64, where numpy needs 9. The environment's own numpy code then runs at half its
speed, too: the two together no longer fit what the processor keeps of code and branches, and a step
of CartPole's vector environment with its action takes 105 µs in place of 54.
"""

from collections.abc import Callable, Iterable
from contextvars import copy_context
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.extend.core import Literal

MULTIPLY_ADDS = 2**18
"""The largest product that is left to numpy: from here on a compiled program is faster, and
numpy's library would share the work among threads."""

ELEMENTWISE: dict[str, str] = {
    "abs": "numpy.abs({0})",
    "add": "{0} + {1}",
    "add_any": "{0} + {1}",
    "clamp": "numpy.minimum(numpy.maximum({1}, {0}), {2})",
    "copy": "numpy.asarray({0})",
    "div": "{0} / {1}",
    "eq": "{0} == {1}",
    "exp": "exp({0})",
    "expm1": "numpy.expm1({0})",
    "ge": "{0} >= {1}",
    "gt": "{0} > {1}",
    "le": "{0} <= {1}",
    "log": "numpy.log({0})",
    "log1p": "numpy.log1p({0})",
    "logistic": "1 / (1 + exp(-{0}))",
    "lt": "{0} < {1}",
    "max": "numpy.maximum({0}, {1})",
    "min": "numpy.minimum({0}, {1})",
    "mul": "{0} * {1}",
    "ne": "{0} != {1}",
    "neg": "-{0}",
    "select_n": "numpy.where({0}, {2}, {1})",
    "sqrt": "numpy.sqrt({0})",
    "square": "numpy.square({0})",
    "stop_gradient": "numpy.asarray({0})",
    "sub": "{0} - {1}",
    "tanh": "tanh({0})",
}
"""What each operation is in numpy, of its operands."""

NAMES: dict[str, Any] = {"numpy": np, "dot": np.dot, "exp": np.exp, "tanh": np.tanh}
"""What an expression may call."""

INLINED = {"jit": "jaxpr", "pjit": "jaxpr", "custom_jvp_call": "call_jaxpr"}
"""Calls of functions, by the parameter that holds the function."""


class UntranslatableError(Exception):
    """A function has an operation that is not translated."""


class Line(NamedTuple):
    """One line of the program: ``result = expression``, of the names that it uses."""

    result: str
    expression: str
    uses: list[str]


class Translation:
    """``function(known, *rest)`` as a numpy program; ``UntranslatableError`` where it is none.

    ``begin(known)`` computes what follows from the first argument alone and returns the function
    of the rest: their leaves in, arrays of numpy, and a tree of those out.
    """

    def __init__(self, function: Callable[..., Any], known: Any, *rest: Any) -> None:
        closed, shape = jax.make_jaxpr(function, return_shape=True)(known, *rest)
        self._constants: dict[str, np.ndarray] = {}
        self._names = 0
        fixed = len(jax.tree.leaves(known))
        inputs = [self._new() for _ in closed.jaxpr.invars]
        self._known, rest_names = inputs[:fixed], inputs[fixed:]
        lines: list[Line] = []
        outputs = self._read(closed.jaxpr, closed.consts, inputs, lines)
        tree = jax.tree.structure(shape)
        self._tree = None if tree == jax.tree.structure(0) else tree
        self.source = self._program(lines, rest_names, outputs)
        """Of ``begin``, for a reader."""
        names: dict[str, Any] = NAMES | self._constants
        # Its own source, made of the templates above and of numbers; nothing of a user's is in it.
        exec(compile(self.source, "<klamp.translation>", "exec"), names)  # noqa: S102
        self._begin: Callable[..., Any] = names["begin"]

    def begin(self, known: Any) -> Callable[..., Any]:
        """What follows from ``known`` is computed here, once."""
        # Like a compiled program, silent about what a NaN leads to; set once, not at every call.
        silent = copy_context()
        silent.run(np.seterr, all="ignore")
        finish = silent.run(self._begin, *map(np.asarray, jax.tree.leaves(known)))
        run, tree = silent.run, self._tree
        if tree is None:
            return lambda *leaves: run(finish, *leaves)[0]
        return lambda *leaves: jax.tree.unflatten(tree, run(finish, *leaves))

    def _program(self, lines: list[Line], rest: list[str], outputs: list[str]) -> str:
        """The lines that need none of the rest first; the others in a function of the rest.

        What is known beforehand is laid out in memory, a bias with a row for each environment:
        adding such an array costs half as much as one that numpy has to repeat.
        """
        late, first, then = set(rest), list[str](), list[str]()
        for line in lines:
            if late.isdisjoint(line.uses):
                first.append(f"    {line.result} = numpy.asarray({line.expression}, order='C')")
            else:
                late.add(line.result)
                then.append(f"        {line.result} = {line.expression}")
        return "\n".join(
            [
                f"def begin({', '.join(self._known)}):",
                *first,
                f"    def finish({', '.join(rest)}):",
                *then,
                f"        return ({''.join(f'{name}, ' for name in outputs)})",
                "    return finish",
            ]
        )

    def _new(self) -> str:
        self._names += 1
        return f"x{self._names}"

    def _constant(self, value: Any) -> str:
        name = self._new()
        self._constants[name] = np.asarray(value)
        return name

    def _read(self, jaxpr: Any, constants: Any, inputs: list[str], lines: list[Line]) -> list[str]:
        """Append the lines of a jaxpr; the names of its results."""
        names: dict[Any, str] = dict(zip(jaxpr.invars, inputs, strict=True))
        for variable, value in zip(jaxpr.constvars, constants, strict=True):
            names[variable] = self._constant(value)

        def find(variable: Any) -> str:
            if isinstance(variable, Literal):
                aval: Any = variable.aval
                return self._constant(np.asarray(variable.val, aval.dtype))
            return names[variable]

        for equation in jaxpr.eqns:
            uses = [find(variable) for variable in equation.invars]
            name = equation.primitive.name
            if name in INLINED:
                inner = equation.params[INLINED[name]]
                results = self._read(inner.jaxpr, inner.consts, uses, lines)
                names.update(zip(equation.outvars, results, strict=True))
                continue
            for out, template in zip(equation.outvars, _templates(equation), strict=True):
                names[out] = self._new()
                lines.append(Line(names[out], template.format(*uses), uses))
        return [find(variable) for variable in jaxpr.outvars]


def translate(function: Callable[..., Any], known: Any, *rest: Any) -> Translation | None:
    """The translation of ``function(known, *rest)``, if there is one."""
    try:
        return Translation(function, known, *rest)
    except UntranslatableError:
        return None


def _templates(equation: Any) -> list[str]:
    """One numpy expression for each result of an equation, its operands by number."""
    name, parameters = equation.primitive.name, equation.params
    operands = [variable.aval for variable in equation.invars]
    shapes = [variable.aval.shape for variable in equation.outvars]
    floating = all(_floating(operand.dtype) for operand in operands)
    found: list[str] = []
    match name:
        case _ if name in ELEMENTWISE and _means_the_same(name, operands):
            found = [ELEMENTWISE[name]]
        case "integer_pow" if floating:
            found = [f"{{0}} ** {parameters['y']}"]
        case "dot_general" if _plain_product(parameters, *operands):
            found = ["dot({0}, {1})"]  # the same of two matrices, and sooner begun than `matmul`
        case "reshape" | "squeeze" | "expand_dims":
            found = [f"{{0}}.reshape({shapes[0]})"]
        case "broadcast_in_dim":
            kept = dict(zip(parameters["broadcast_dimensions"], operands[0].shape, strict=True))
            placed = tuple(kept.get(axis, 1) for axis in range(len(shapes[0])))
            found = [f"numpy.broadcast_to({{0}}.reshape({placed}), {shapes[0]})"]
        case "slice":
            starts, limits = parameters["start_indices"], parameters["limit_indices"]
            steps = parameters["strides"] or (1,) * len(starts)
            found = [_indexed(zip(starts, limits, steps, strict=True))]
        case "split":
            ends = [int(end) for end in np.cumsum(parameters["sizes"])]
            whole = [(0, size, 1) for size in operands[0].shape[: parameters["axis"]]]
            pieces = zip(ends, parameters["sizes"], strict=True)
            found = [_indexed([*whole, (end - size, end, 1)]) for end, size in pieces]
        case "argmax" if len(parameters["axes"]) == 1:
            (axis,), kind = parameters["axes"], parameters["index_dtype"]
            found = [f"{{0}}.argmax({axis}).astype('{kind}')"]
        case "concatenate":
            parts = ", ".join(f"{{{i}}}" for i in range(len(operands)))
            found = [f"numpy.concatenate(({parts},), {parameters['dimension']})"]
        case "stack":
            parts = ", ".join(f"{{{i}}}" for i in range(len(operands)))
            found = [f"numpy.stack(({parts},), {parameters['axis']})"]
        case "convert_element_type" if not floating or _floating(parameters["new_dtype"]):
            # From a NaN, the two make different integers.
            found = [f"numpy.asarray({{0}}).astype('{parameters['new_dtype']}')"]
        case _:
            raise UntranslatableError(name)
    return found


def _indexed(ranges: Iterable[tuple[int, int, int]]) -> str:
    return "{0}[" + ", ".join(f"{start}:{stop}:{step}" for start, stop, step in ranges) + "]"


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
