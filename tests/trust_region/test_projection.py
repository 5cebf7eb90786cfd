"""Drawing an update back: the farthest point within the region, measured there."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from problems import POLICIES, as_arrays

from klamp.trust_region.projection import MeasuredKL, mean_kl, project

START, END = jnp.asarray([1.0, -2.0]), jnp.asarray([4.0, 2.0])


def quadratic(theta):
    """½‖θ − start‖²: 12.5 at the end."""
    return 0.5 * jnp.sum(jnp.square(theta - START))


def exactly(kl):
    """A KL that is measured without error."""

    def measure(theta):
        return MeasuredKL(kl(theta), kl(theta), jnp.zeros(()))

    return measure


@pytest.mark.parametrize("problem", POLICIES, ids=lambda problem: problem.head)
def test_the_mean_kl_is_the_textbook_one_over_rows_that_exist(problem) -> None:
    rng = np.random.default_rng(0)
    theta, moved = problem.theta(rng), problem.theta(rng)
    weight = np.arange(problem.rows, dtype=np.float32) % 3
    batch = problem.batch(rng, theta, weight)
    old, new = (problem.parameters(at, batch.inputs) for at in (theta, moved))
    expected = np.average(problem.kl(old, new), weights=weight)
    # The other direction is another number.
    assert abs(np.average(problem.kl(new, old), weights=weight) / expected - 1) > 0.01
    batch.inputs[weight == 0] = np.nan
    measure = jax.jit(lambda at, b: mean_kl(problem.policy, at, b))
    batch = as_arrays(batch)
    assert float(measure(as_arrays(moved), batch)) == pytest.approx(expected, rel=1e-5)
    assert float(measure(as_arrays(theta), batch)) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("max_kl", [1e-6, 0.01, 1.0, 12.0])
def test_the_edge_is_found(max_kl: float) -> None:
    found = project(exactly(quadratic), START, END, max_kl=max_kl)
    assert float(quadratic(found.theta)) <= max_kl
    # A thousandth of the bound is half a thousandth of the way.
    assert float(found.fraction) == pytest.approx(np.sqrt(max_kl / 12.5), rel=6e-4)
    assert float(found.kl) == pytest.approx(12.5)
    np.testing.assert_allclose(found.theta, START + found.fraction * (END - START), rtol=1e-6)


def test_an_update_within_the_region_is_kept_to_the_bit() -> None:
    end = START + 1e-3 * jnp.asarray([np.pi, np.e], jnp.float32)
    found = jax.jit(lambda e: project(exactly(quadratic), START, e, max_kl=0.01))(end)
    np.testing.assert_array_equal(found.theta, end)
    assert float(found.fraction) == 1


def test_a_region_that_no_step_stays_in_gives_the_start() -> None:
    found = project(exactly(lambda theta: 1.0 + quadratic(theta)), START, END, max_kl=0.5)
    np.testing.assert_array_equal(found.theta, START)
    assert float(found.fraction) == 0


@pytest.mark.parametrize("bad", [jnp.nan, jnp.inf])
def test_points_that_cannot_be_measured_are_not_taken(bad: float) -> None:
    def broken(theta):
        return jnp.where(theta[0] > 1.5, bad, quadratic(theta))

    found = project(exactly(broken), START, END, max_kl=12.0)
    assert float(found.theta[0]) <= 1.5
    assert float(found.fraction) == pytest.approx(0.5 / 3, rel=1e-4)


def test_it_batches() -> None:
    bounds = jnp.asarray([0.01, 100.0])
    found = jax.vmap(lambda bound: project(exactly(quadratic), START, END, max_kl=bound))(bounds)
    assert float(found.fraction[0]) < 0.1
    assert float(found.fraction[1]) == 1


def test_the_edge_is_that_of_the_ceiling() -> None:
    def measure(theta):
        return MeasuredKL(quadratic(theta), 2 * quadratic(theta), jnp.zeros(()))

    found = project(measure, START, END, max_kl=1.0)
    assert float(quadratic(found.theta)) == pytest.approx(0.5, rel=1e-3)
    assert float(found.kl) == 12.5
