"""A function as JAX's equations, computed one after the other in another way."""

from collections.abc import Callable
from typing import Any

import jax
from jax.extend.core import Literal
from jaxtyping import Array

Apply = Callable[[Any, list[Any]], list[Any]]
"""The results of an equation, from it and its operands."""


def computed_by(function: Callable[..., Any], apply: Apply) -> Callable[..., Any]:
    """``function``, each equation of its top level computed by ``apply``."""

    def restated(*arguments: Any) -> Any:
        closed, shape = jax.make_jaxpr(function, return_shape=True)(*arguments)
        found = _evaluate(closed.jaxpr, closed.consts, jax.tree.leaves(arguments), apply)
        return jax.tree.unflatten(jax.tree.structure(shape), found)

    return restated


def as_it_is(equation: Any, operands: list[Any]) -> list[Any]:
    """The results of an equation by its own primitive."""
    primitive = equation.primitive
    found = primitive.bind(*operands, **primitive.get_bind_params(equation.params))
    return found if primitive.multiple_results else [found]


def once(function: Callable[..., Any]) -> Callable[..., Any]:
    """``function``, in which an equation that occurs twice is computed once.

    XLA finds such pairs too, but only after it has made each sum over rows on several devices one
    between these, which it does not take for the same as another.
    """

    def restated(*arguments: Any) -> Any:
        known: dict[Any, list[Any]] = {}

        def apply(equation: Any, operands: list[Any]) -> list[Any]:
            # All operands live as long as this call, so an identity names one of them.
            given = [
                (repr(read.val), read.aval) if isinstance(read, Literal) else id(operand)
                for read, operand in zip(equation.invars, operands, strict=True)
            ]
            parameters = [(name, _named(equation.params[name])) for name in sorted(equation.params)]
            key = (equation.primitive, *parameters, *given)
            if key not in known:
                known[key] = as_it_is(equation, operands)
            return known[key]

        return computed_by(function, apply)(*arguments)

    return restated


def _named(parameter: Any) -> Any:
    """A parameter of an equation as a part of a key; inner functions are equal if they are one."""
    try:
        hash(parameter)
    except TypeError:
        return id(parameter)
    return parameter


def _evaluate(jaxpr: Any, constants: Any, arguments: list[Array], apply: Apply) -> list[Array]:
    """One equation after the other, as ``jax.core.eval_jaxpr`` does."""
    values: dict[Any, Array] = dict(zip(jaxpr.constvars, constants, strict=True))
    values |= dict(zip(jaxpr.invars, arguments, strict=True))

    def read(variable: Any) -> Any:
        return variable.val if isinstance(variable, Literal) else values[variable]

    for equation in jaxpr.eqns:
        found = apply(equation, [read(variable) for variable in equation.invars])
        values.update(zip(equation.outvars, found, strict=True))
    return [read(variable) for variable in jaxpr.outvars]
