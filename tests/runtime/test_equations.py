"""A function in JAX's equations, computed in another way, is the same function."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from klamp.runtime.equations import as_it_is, computed_by, once


def mean(x: Any, weight: Any) -> Any:
    return jnp.sum(x * weight) / jnp.where(jnp.sum(weight) > 0, jnp.sum(weight), 1.0)


def twice(tree: dict[str, Any]) -> Any:
    a, weight = tree["a"], tree["weight"]
    return {"one": mean(a, weight) + mean(jnp.sin(a), weight), "two": mean(a + 1.0, weight)}


TREE = {"a": jnp.arange(4.0), "weight": jnp.asarray([0.5, 1.0, 0.0, 2.0])}


def sums(function: Any) -> int:
    return str(jax.make_jaxpr(function)(TREE)).count("reduce_sum")


def test_what_occurs_twice_is_computed_once_and_the_rest_as_before() -> None:
    assert (sums(twice), sums(once(twice))) == (9, 4)
    for name, value in twice(TREE).items():
        np.testing.assert_array_equal(once(twice)(TREE)[name], value)


def test_other_numbers_and_other_parameters_are_not_the_same() -> None:
    def different(tree: dict[str, Any]) -> list[Any]:
        a = tree["a"]
        square = a.reshape(2, 2)
        return [a * 2.0, a * 3.0, square.sum(0), square.sum(1), a + TREE["weight"], a + a]

    for ours, theirs in zip(once(different)(TREE), different(TREE), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_functions_that_differ_in_a_constant_alone_are_not_the_same() -> None:
    def with_constant(constant: np.ndarray) -> Any:
        return jax.jit(lambda x: x * constant)

    one, two = with_constant(np.arange(4.0)), with_constant(np.ones(4))

    def different(tree: dict[str, Any]) -> list[Any]:
        return [one(tree["a"]), two(tree["a"]), one(tree["a"])]

    for ours, theirs in zip(once(different)(TREE), different(TREE), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_each_equation_is_asked_for_in_its_order() -> None:
    asked: list[str] = []

    def apply(equation: Any, operands: list[Any]) -> list[Any]:
        asked.append(equation.primitive.name)
        return as_it_is(equation, operands)

    result = computed_by(lambda x: jnp.exp(-x) * x, apply)(jnp.asarray(0.5))
    assert asked == ["neg", "exp", "mul"]
    np.testing.assert_allclose(result, np.exp(-0.5) * 0.5, rtol=1e-6)
