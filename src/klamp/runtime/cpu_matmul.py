"""Gradients whose matrix products are in the order that a CPU multiplies fastest."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import Literal
from jaxtyping import Array, Float

from klamp.runtime.device import cpu

OVER_ROWS = (((0,), (0,)), ((), ()))
"""The dimension numbers of gᵀx for g [B, o] and x [B, i]: the gradient of a layer's weights."""


def rows_first(function: Callable[..., Any]) -> Callable[..., Any]:
    """``function`` with its products over rows rewritten; equal up to rounding.

    Differentiation leaves ∂L/∂W of y = xW as (gᵀx)ᵀ and ∂L/∂b as the sum of g's rows. XLA's library
    for the CPU has its fast path for products whose left factor lies along the summed axis: xᵀ
    written out, xᵀg takes two thirds of the time in a loop of minibatches, and 1ᵀg half of the
    sum's. Only the top level of the function is rewritten, and nothing on other devices.
    """
    if not cpu():
        return function

    def restated(*arguments: Any) -> Any:
        closed, shape = jax.make_jaxpr(function, return_shape=True)(*arguments)
        found = _evaluate(closed.jaxpr, closed.consts, jax.tree.leaves(arguments))
        return jax.tree.unflatten(jax.tree.structure(shape), found)

    return restated


def _evaluate(jaxpr: Any, constants: Any, arguments: list[Array]) -> list[Array]:
    """One equation after the other, as ``jax.core.eval_jaxpr`` does."""
    values: dict[Any, Array] = dict(zip(jaxpr.constvars, constants, strict=True))
    values |= dict(zip(jaxpr.invars, arguments, strict=True))

    def read(variable: Any) -> Any:
        return variable.val if isinstance(variable, Literal) else values[variable]

    for equation in jaxpr.eqns:
        found = _apply(equation, [read(variable) for variable in equation.invars])
        values.update(zip(equation.outvars, found, strict=True))
    return [read(variable) for variable in jaxpr.outvars]


def _apply(equation: Any, operands: list[Any]) -> list[Any]:
    """The results of an equation: rewritten, or by the primitive itself."""
    primitive, parameters = equation.primitive, equation.params
    match primitive.name:
        case "dot_general" if parameters["dimension_numbers"] == OVER_ROWS and _matrices(operands):
            return [_product_over_rows(*operands)]
        case "reduce_sum" if tuple(parameters["axes"]) == (0,) and _matrices(operands):
            return [jnp.ones(operands[0].shape[0], operands[0].dtype) @ operands[0]]
        case _:
            found = primitive.bind(*operands, **primitive.get_bind_params(parameters))
            return found if primitive.multiple_results else [found]


def _matrices(operands: list[Any]) -> bool:
    return all(x.ndim == 2 and jnp.issubdtype(x.dtype, jnp.floating) for x in operands)


def _product_over_rows(g: Float[Array, "B o"], x: Float[Array, "B i"]) -> Float[Array, "o i"]:
    """gᵀx as (xᵀg)ᵀ; without the barrier XLA would fold the transpose into the product again."""
    return (jax.lax.optimization_barrier(x.T) @ g).T
