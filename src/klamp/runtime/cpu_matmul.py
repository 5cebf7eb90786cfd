"""Gradients whose matrix products are in the order that a CPU multiplies fastest."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from klamp.runtime.device import cpu
from klamp.runtime.equations import as_it_is, computed_by

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

    return computed_by(function, _apply)


def _apply(equation: Any, operands: list[Any]) -> list[Any]:
    """The results of an equation: rewritten, or by the primitive itself."""
    primitive, parameters = equation.primitive, equation.params
    match primitive.name:
        case "dot_general" if parameters["dimension_numbers"] == OVER_ROWS and _matrices(operands):
            return [_product_over_rows(*operands)]
        case "reduce_sum" if tuple(parameters["axes"]) == (0,) and _matrices(operands):
            return [jnp.ones(operands[0].shape[0], operands[0].dtype) @ operands[0]]
        case _:
            return as_it_is(equation, operands)


def _matrices(operands: list[Any]) -> bool:
    return all(x.ndim == 2 and jnp.issubdtype(x.dtype, jnp.floating) for x in operands)


def _product_over_rows(g: Float[Array, "B o"], x: Float[Array, "B i"]) -> Float[Array, "o i"]:
    """gᵀx as (xᵀg)ᵀ; without the barrier XLA would fold the transpose into the product again."""
    return (jax.lax.optimization_barrier(x.T) @ g).T
