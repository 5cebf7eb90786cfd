import jax
import jax.numpy as jnp
import numpy as np
import pytest
from problems import POLICIES, as_arrays

from klamp import kl_divergence
from klamp.trust_region.line_search import Candidate, backtracking_line_search, kl_bound

MAX_KL = 0.01


def search(measure, *, max_backtracks=10, ratio=0.8, max_kl=MAX_KL):
    """Search with a counting fake, outside of any compilation; returns the result and fractions."""
    tried = []

    def evaluate(fraction):
        tried.append(float(fraction))
        gain, kl = measure(float(fraction))
        return Candidate(jnp.float32(gain), jnp.float32(0), jnp.float32(kl))

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
        return Candidate(gain, jnp.float32(1e-6), jnp.float32(0))

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
            return Candidate(jnp.where(fits, 1.0, -1.0), jnp.float32(0), jnp.float32(0))

        return backtracking_line_search(evaluate, max_kl=jnp.float32(MAX_KL), max_backtracks=6)

    longest = jnp.array([2.0, 0.9, 0.5, 0.3, 0.1])
    result = jax.jit(jax.vmap(one))(longest)
    np.testing.assert_array_equal(result.accepted, [True, True, True, True, False])
    np.testing.assert_array_equal(result.backtracks, [0, 1, 4, 6, 6])
    np.testing.assert_allclose(result.fraction, 0.8 ** np.array([0, 1, 4, 6, 6]), rtol=1e-6)


@pytest.mark.parametrize("problem", POLICIES[:2], ids=lambda p: p.head)
def test_the_bound_leaves_room_for_the_rounding_of_a_measured_kl(problem):
    # A step whose true KL is δ′ must never measure below the bound of a δ < δ′. Small batches are
    # the hard ones: over many rows rounding errors average out.
    rng = np.random.default_rng(0)
    count, rows = 2000, 4
    shape = (count, rows, problem.actions)
    distance = 10 ** rng.uniform(-5, -0.5, (count, 1, 1))
    old = [rng.normal(size=shape), 0.5 * rng.normal(size=shape)]
    new = [x + distance * rng.normal(size=shape) for x in old]
    arrays = 1 if problem.head == "categorical" else 2
    old, new = ([x.astype(np.float32) for x in each[:arrays]] for each in (old, new))

    @jax.jit
    def measured(old, new):
        kl = kl_divergence(p=problem.distribution(old), q=problem.distribution(new))
        return jnp.mean(kl, axis=1)

    actual = np.asarray(measured(as_arrays(old), as_arrays(new)))
    exact = [tuple(x.astype(np.longdouble) for x in each) for each in (old, new)]
    true = exact_kl(problem, *exact).mean(axis=1).astype(np.float64)
    assert true.min() < 1e-9
    assert true.max() > 1e-2
    bound = np.asarray(jax.jit(jax.vmap(kl_bound))(jnp.asarray(true, jnp.float32)))
    assert np.all(bound <= actual)
    # And the price is small: at an ordinary δ a ten-thousandth of it.
    assert kl_bound(jnp.float32(MAX_KL)) > (1 - 1e-4) * MAX_KL


def exact_kl(problem, old, new):
    """The KL of each row in long double: the textbook formula cancels in float64."""
    if problem.head == "categorical":
        log_p, log_q = (x[0] - np.log(np.exp(x[0]).sum(-1, keepdims=True)) for x in (old, new))
        return (np.exp(log_p) * (log_p - log_q)).sum(-1)
    (m_p, s_p), (m_q, s_q) = old, new
    quadratic = (np.exp(2 * s_p) + (m_p - m_q) ** 2) / (2 * np.exp(2 * s_q))
    return (s_q - s_p + quadratic - np.longdouble(0.5)).sum(-1)
