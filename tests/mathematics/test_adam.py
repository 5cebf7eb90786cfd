"""Adam and clipping against optax, an independent implementation."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from klamp.mathematics.adam import EPSILON, clip_norm, init, update

SIZE = 50


@pytest.mark.parametrize("scale", [1e-12, 1e-5, 1.0, 1e6])
@pytest.mark.parametrize(
    ("kind", "steps", "tolerance"), [("float32", 40, 2e-4), ("float64", 400, 1e-9)]
)
def test_directions_are_those_of_the_definition(scale, kind, steps, tolerance) -> None:
    with jax.enable_x64(kind == "float64"):
        reference = optax.scale_by_adam(eps=EPSILON)
        theta = jnp.zeros(SIZE, kind)
        theirs, ours = reference.init(theta), init(theta)
        step, step_theirs = jax.jit(update), jax.jit(reference.update)
        draws = np.random.default_rng(0)
        for number in range(steps):
            # Growing and shrinking, with entries that are never anything but zero.
            size = scale * np.exp(np.sin(number))
            gradient = jnp.asarray(size * draws.normal(size=SIZE), kind).at[:3].set(0)
            expected, theirs = step_theirs(gradient, theirs)
            found, ours = step(gradient, ours)
            assert found.dtype == kind
            np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance)
        assert int(ours.steps) == steps
        np.testing.assert_allclose(ours.first, theirs.mu, rtol=1e-5)
        np.testing.assert_allclose(ours.second, theirs.nu, rtol=1e-5)


@pytest.mark.parametrize("length", [0.0, 1e-20, 0.4, 0.5, 7.0, 1e15])
def test_a_gradient_is_as_long_as_allowed_and_keeps_its_direction(length) -> None:
    unit = np.random.default_rng(1).normal(size=SIZE).astype(np.float32)
    gradient = jnp.asarray(length * unit / np.linalg.norm(unit), jnp.float32)
    clipped = clip_norm(gradient, 0.5)
    expected, _ = optax.clip_by_global_norm(0.5).update(gradient, optax.EmptyState())
    np.testing.assert_allclose(clipped, expected, rtol=1e-6)
    assert np.linalg.norm(clipped) <= 0.5 * (1 + 1e-6)


@pytest.mark.parametrize("poison", [np.nan, np.inf])
def test_what_is_not_finite_is_passed_on_and_not_hidden(poison) -> None:
    gradient = jnp.ones(3).at[1].set(poison)
    assert not np.all(np.isfinite(clip_norm(gradient, 0.5)))
    found, state = update(gradient, init(gradient))
    assert not np.all(np.isfinite(found))
    assert not np.all(np.isfinite(state.first))


def test_a_norm_that_overflows_is_not_taken_for_a_gradient_of_zero() -> None:
    assert np.all(np.isnan(clip_norm(jnp.full(3, 1e25), 0.5)))
    clipped = clip_norm(jnp.full(4, 1e18), 0.5)
    np.testing.assert_allclose(clipped, 0.25, rtol=1e-6)
