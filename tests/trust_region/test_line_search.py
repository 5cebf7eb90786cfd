import jax
import jax.numpy as jnp
import numpy as np
import pytest

from klamp.trust_region.line_search import Candidate, backtracking_line_search

MAX_KL = 0.01


def search(measure, *, max_backtracks=10, ratio=0.8, max_kl=MAX_KL):
    """Search with a counting fake, outside of any compilation; returns the result and fractions."""
    tried = []

    def evaluate(fraction):
        tried.append(float(fraction))
        gain, kl = measure(float(fraction))
        return Candidate(*map(jnp.float32, (gain, 0, kl, kl)))

    with jax.disable_jit():
        result = backtracking_line_search(
            evaluate,
            max_kl=jnp.float32(max_kl),
            backtrack_ratio=ratio,
            max_backtracks=max_backtracks,
        )
    return result, tried


@pytest.mark.parametrize("backtracks", [0, 1, 3, 10])
@pytest.mark.parametrize("ratio", [0.5, 0.8])
@pytest.mark.parametrize("reason", ["kl", "gain", "nan"])
def test_the_first_fraction_that_will_do_is_taken_and_none_after_it_is_tried(
    backtracks, ratio, reason
):
    # Everything longer than ρ^k is refused, for one reason or the other.
    longest = ratio**backtracks * 1.0001
    refused = {"kl": (1.0, 2 * MAX_KL), "gain": (-1.0, 0.0), "nan": (np.nan, np.nan)}[reason]

    def measure(fraction):
        return (1.0, MAX_KL / 2) if fraction < longest else refused

    result, tried = search(measure, ratio=ratio)
    assert bool(result.accepted)
    assert int(result.backtracks) == backtracks
    np.testing.assert_allclose(tried, ratio ** np.arange(backtracks + 1), rtol=1e-6)
    assert float(result.fraction) == tried[-1]
    assert float(result.candidate.gain) == 1


@pytest.mark.parametrize("max_backtracks", [0, 1, 4])
def test_after_the_last_backtrack_the_search_gives_up(max_backtracks):
    result, tried = search(lambda fraction: (-1.0, 0.0), max_backtracks=max_backtracks)
    assert not bool(result.accepted)
    assert len(tried) == max_backtracks + 1
    assert int(result.backtracks) == max_backtracks
    assert float(result.fraction) == pytest.approx(0.8**max_backtracks, rel=1e-6)


@pytest.mark.parametrize(
    ("gain", "kl"),
    [(np.nan, 0.0), (1.0, np.nan), (np.nan, np.nan), (1.0, np.inf), (-np.inf, 0.0)],
)
def test_nan_and_infinity_are_never_accepted(gain, kl):
    result, tried = search(lambda fraction: (gain, kl))
    assert not bool(result.accepted)
    assert len(tried) == 11


def test_a_nan_on_the_way_does_not_end_the_search():
    result, tried = search(lambda fraction: (np.nan, np.nan) if fraction > 0.6 else (1.0, 0.001))
    assert bool(result.accepted)
    assert len(tried) == 4


def test_no_gain_is_no_improvement_and_a_gain_within_rounding_is_none():
    assert not bool(search(lambda fraction: (0.0, 0.0))[0].accepted)

    def evaluate(fraction, gain):
        return Candidate(gain, *map(jnp.float32, (1e-6, 0, 0)))

    def accepted(gain):
        result = backtracking_line_search(
            lambda fraction: evaluate(fraction, gain), max_kl=jnp.float32(MAX_KL), max_backtracks=0
        )
        return result.accepted

    gains = jnp.array([0.9e-6, 1e-6, 1.1e-6])
    np.testing.assert_array_equal(jax.jit(jax.vmap(accepted))(gains), [False, False, True])


def test_there_is_no_slack_on_the_bound():
    assert not bool(search(lambda fraction: (1.0, MAX_KL * 1.0001), max_backtracks=0)[0].accepted)
    assert bool(search(lambda fraction: (1.0, MAX_KL * 0.9999), max_backtracks=0)[0].accepted)


def test_compiled_and_batched_searches_are_the_same_search():
    def one(longest):
        def evaluate(fraction):
            fits = fraction < longest
            return Candidate(jnp.where(fits, 1.0, -1.0), *map(jnp.float32, (0, 0, 0)))

        return backtracking_line_search(evaluate, max_kl=jnp.float32(MAX_KL), max_backtracks=6)

    longest = jnp.array([2.0, 0.9, 0.5, 0.3, 0.1])
    result = jax.jit(jax.vmap(one))(longest)
    np.testing.assert_array_equal(result.accepted, [True, True, True, True, False])
    np.testing.assert_array_equal(result.backtracks, [0, 1, 4, 6, 6])
    np.testing.assert_allclose(result.fraction, 0.8 ** np.array([0, 1, 4, 6, 6]), rtol=1e-6)


def test_the_ceiling_is_what_the_bound_is_put_on():
    def evaluate(fraction):
        return Candidate(*map(jnp.float32, (1, 0, MAX_KL / 2)), MAX_KL * fraction * 1.01)

    result = backtracking_line_search(evaluate, max_kl=jnp.float32(MAX_KL))
    assert bool(result.accepted)
    assert int(result.backtracks) == 1
