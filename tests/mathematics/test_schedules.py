import jax
import jax.numpy as jnp
import pytest

from klamp.mathematics.schedules import decayed, scheduled


@pytest.mark.parametrize(("progress", "expected"), [(0.0, 3e-4), (0.25, 2.25e-4), (1.0, 0.0)])
def test_linear_from_start_to_end(progress, expected):
    assert scheduled(3e-4, 0.0, jnp.asarray(progress)) == pytest.approx(expected, abs=1e-10)


def test_may_rise():
    assert scheduled(0.1, 0.3, jnp.asarray(0.5)) == pytest.approx(0.2)


@pytest.mark.parametrize("progress", [0.0, 0.5, 1.0])
def test_constant_without_an_end(progress):
    assert scheduled(0.2, None, jnp.asarray(progress)) == pytest.approx(0.2)


def test_progress_may_be_traced():
    # A schedule that were a constant of the program would recompile at each update.
    assert jax.jit(lambda p: scheduled(1.0, 0.0, p))(jnp.asarray(0.75)) == pytest.approx(0.25)


def test_decayed_falls_by_the_step_and_stops_at_its_minimum():
    assert decayed(1.0, 1e-3, 0.2, 0) == 1.0
    assert decayed(1.0, 1e-3, 0.2, 300) == pytest.approx(0.7)
    assert decayed(1.0, 1e-3, 0.2, 10_000) == 0.2
    # A minimum above the start does not raise it.
    assert decayed(0.1, 1e-3, 0.2, 10_000) == 0.1
