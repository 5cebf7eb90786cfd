from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st
from problems import POLICIES, as_arrays, log_softmax, precision

from klamp import Categorical, DiagonalGaussian, kl_divergence
from klamp.mathematics.distributions import Distribution

CATEGORICAL, GAUSSIAN = POLICIES[0], POLICIES[1]
DRAWS = 200_000

# p and q so far apart that KL(p‖q) and KL(q‖p) differ by a multiple of any Monte-Carlo error.
PAIRS = {
    "categorical": (
        Categorical(jnp.log(jnp.array([[0.7, 0.2, 0.05, 0.05]]))),
        Categorical(jnp.log(jnp.array([[0.1, 0.3, 0.3, 0.3]]))),
    ),
    "gaussian": (
        DiagonalGaussian(jnp.array([[0.0, 1.0, -2.0]]), jnp.log(jnp.array([[1.0, 0.5, 2.0]]))),
        DiagonalGaussian(jnp.array([[1.0, 1.5, -1.0]]), jnp.log(jnp.array([[3.0, 2.0, 2.5]]))),
    ),
}


def random_parameters(problem, rng, rows=64, scale=1.0):
    logits = scale * rng.normal(size=(rows, problem.actions))
    if problem.head == "categorical":
        return (logits.astype(np.float32),)
    log_std = 0.5 * rng.normal(size=logits.shape)
    return logits.astype(np.float32), log_std.astype(np.float32)


@jax.jit
def draw(distribution):
    """Independent actions of the one row."""
    return distribution.sample_from(distribution.noise(jax.random.key(0), (DRAWS,)))[:, 0]


def log_prob_of_draws(distribution, draws):
    return np.asarray(log_prob(distribution, draws), np.float64)


log_prob = jax.jit(lambda distribution, action: distribution.log_prob(action))
entropy_of = jax.jit(lambda distribution: distribution.entropy())
kl_to = jax.jit(lambda p, q: kl_divergence(p=p, q=q))


@pytest.mark.parametrize("name", PAIRS)
def test_entropy_is_the_mean_of_minus_log_prob(name):
    p, _ = PAIRS[name]
    surprise = -log_prob_of_draws(p, draw(p))
    error = surprise.std() / np.sqrt(DRAWS)
    assert abs(surprise.mean() - entropy_of(p)[0]) < 4 * error


@pytest.mark.parametrize("name", PAIRS)
@pytest.mark.parametrize("swapped", [False, True])
def test_kl_divergence_is_the_mean_log_ratio_under_p_and_not_under_q(name, swapped):
    p, q = PAIRS[name][::-1] if swapped else PAIRS[name]
    draws = draw(p)
    log_ratio = log_prob_of_draws(p, draws) - log_prob_of_draws(q, draws)
    error = log_ratio.std() / np.sqrt(DRAWS)
    assert abs(log_ratio.mean() - kl_to(p, q)[0]) < 4 * error
    assert abs(log_ratio.mean() - kl_to(q, p)[0]) > 20 * error


def test_kl_divergence_takes_its_arguments_by_name_only():
    p, q = PAIRS["categorical"]
    with pytest.raises(TypeError):
        kl_divergence(p, q)


def test_categorical_kl_by_hand():
    p, q = (Categorical(jnp.log(jnp.array([[a, 1 - a]]))) for a in (0.5, 0.25))
    assert kl_to(p, q)[0] == pytest.approx(0.5 * np.log(4 / 3), rel=1e-6)


def test_gaussian_kl_by_hand_and_summed_over_action_dimensions():
    # Per dimension: unit shift at unit variance ½; variance 1 to 4: log 2 + 1/8 − ½.
    p = DiagonalGaussian(jnp.zeros((1, 3)), jnp.zeros((1, 3)))
    q = DiagonalGaussian(jnp.array([[1.0, 0.0, 0.0]]), jnp.log(jnp.array([[1.0, 2.0, 1.0]])))
    expected = 0.5 + np.log(2) + 1 / 8 - 0.5
    assert kl_to(p, q)[0] == pytest.approx(expected, rel=1e-6)


def test_categorical_log_prob_and_entropy_against_scipy():
    rng = np.random.default_rng(0)
    (logits,) = random_parameters(CATEGORICAL, rng, scale=3.0)
    distribution = Categorical(logits)
    expected = log_softmax(logits)
    for action in range(CATEGORICAL.actions):
        actual = log_prob(distribution, np.full(len(logits), action))
        np.testing.assert_allclose(actual, expected[:, action], rtol=1e-5, atol=1e-6)
    entropy = scipy.stats.entropy(np.exp(expected), axis=-1)
    np.testing.assert_allclose(entropy_of(distribution), entropy, rtol=1e-5, atol=1e-6)


def test_gaussian_log_prob_and_entropy_against_scipy():
    rng = np.random.default_rng(1)
    mean, log_std = random_parameters(GAUSSIAN, rng)
    action = rng.normal(size=mean.shape).astype(np.float32)
    distribution = DiagonalGaussian(mean, log_std)
    normal = scipy.stats.norm(mean.astype(float), np.exp(log_std.astype(float)))
    expected = normal.logpdf(action).sum(-1)
    np.testing.assert_allclose(log_prob(distribution, action), expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(entropy_of(distribution), normal.entropy().sum(-1), rtol=1e-5)


def test_categorical_samples_have_the_frequencies_of_their_probabilities():
    p = PAIRS["categorical"][0]
    probabilities = np.exp(log_softmax(p.logits))[0]
    counts = np.bincount(draw(p), minlength=4)
    assert scipy.stats.chisquare(counts, DRAWS * probabilities).pvalue > 1e-3


def test_gaussian_samples_are_normal_in_each_dimension_and_independent():
    p = PAIRS["gaussian"][0]
    z = (np.asarray(draw(p)) - np.asarray(p.mean)) / np.exp(np.asarray(p.log_std))
    for dimension in z.T:
        assert scipy.stats.kstest(dimension, "norm").pvalue > 1e-3
    np.testing.assert_allclose(np.corrcoef(z.T), np.eye(3), atol=4 / np.sqrt(DRAWS))


@pytest.mark.parametrize("name", PAIRS)
def test_sample_is_one_action_a_row_and_a_function_of_its_key(name):
    one = PAIRS[name][0]
    rows = jax.tree.map(lambda leaf: jnp.repeat(leaf, 64, 0), one)
    sample = jax.jit(partial(type(rows).sample, rows))
    first, again, second = (np.asarray(sample(jax.random.key(seed))) for seed in (0, 0, 1))
    assert first.shape[0] == 64
    np.testing.assert_array_equal(first, again)
    assert len(np.unique(first, axis=0)) > 1
    assert np.any(first != second)
    assert log_prob(rows, first).shape == (64,)


@pytest.mark.parametrize("name", PAIRS)
def test_the_mode_is_the_most_probable_action(name):
    p = PAIRS[name][0]
    most = float(log_prob(p, p.mode())[0])
    assert np.all(log_prob_of_draws(p, draw(p)) <= most + 1e-6)


@pytest.mark.parametrize("problem", POLICIES[:2], ids=lambda p: p.head)
def test_the_kl_of_a_distribution_to_itself_is_exactly_zero(problem):
    for seed in range(5):
        rng = np.random.default_rng(seed)
        p = problem.distribution(as_arrays(random_parameters(problem, rng, scale=10.0)))
        assert np.all(np.asarray(kl_to(p, p)) == 0)


@pytest.mark.parametrize("problem", POLICIES[:2], ids=lambda p: p.head)
@settings(deadline=None, max_examples=50, derandomize=True)
@given(seed=st.integers(0, 10_000), exponent=st.floats(-8, 1))
def test_the_kl_is_never_negative_beyond_rounding(problem, seed, exponent):
    rng = np.random.default_rng(seed)
    old = random_parameters(problem, rng, scale=3.0)
    new = tuple(x + np.float32(10**exponent * rng.normal(size=x.shape)) for x in old)
    kl = kl_to(problem.distribution(as_arrays(old)), problem.distribution(as_arrays(new)))
    assert np.all(np.asarray(kl) >= -1e-7)
    assert np.all(np.isfinite(np.asarray(kl)))


@pytest.mark.parametrize("problem", POLICIES[:2], ids=lambda p: p.head)
@pytest.mark.parametrize("distance", [1.0, 1e-1, 1e-2, 1e-3, 1e-4])
def test_the_kl_of_near_distributions_keeps_its_digits(problem, distance):
    # Log-ratios of size d are known to one rounding error, hence their square to 2ε/d; a formula
    # that cancels loses ε/d² and at d = 1e-4 has no digit left.
    rng = np.random.default_rng(3)
    old = random_parameters(problem, rng)
    new = tuple(x + np.float32(distance * rng.normal(size=x.shape)) for x in old)
    kl = kl_to(problem.distribution(as_arrays(old)), problem.distribution(as_arrays(new)))
    # Textbook formulas in long double: in float64 they cancel as well.
    if problem.head == "categorical":
        log_p, log_q = (x.astype(np.longdouble) for x in (old[0], new[0]))
        log_p, log_q = (x - np.log(np.exp(x).sum(-1, keepdims=True)) for x in (log_p, log_q))
        expected = (np.exp(log_p) * (log_p - log_q)).sum(-1)
    else:
        m_p, s_p, m_q, s_q = (x.astype(np.longdouble) for x in (*old, *new))
        quadratic = (np.exp(2 * s_p) + (m_p - m_q) ** 2) / (2 * np.exp(2 * s_q))
        expected = (s_q - s_p + quadratic - np.longdouble(0.5)).sum(-1)
    error = np.asarray(kl, np.float64).mean() / float(expected.mean()) - 1
    assert abs(error) < 10 * 1.2e-7 / distance


def test_the_kl_of_distant_distributions_does_not_overflow():
    # p underflows to 0 for one action and q for the other.
    p, q = Categorical(jnp.array([[0.0, -200.0]])), Categorical(jnp.array([[-200.0, 0.0]]))
    assert kl_to(p, q)[0] == pytest.approx(200, rel=1e-6)
    gradient = jax.jit(jax.grad(lambda x: kl_divergence(p=p, q=Categorical(x))[0]))(q.logits)
    np.testing.assert_allclose(gradient, [[-1.0, 1.0]], atol=1e-6)


@pytest.mark.parametrize("problem", POLICIES[:2], ids=lambda p: p.head)
def test_the_fisher_metric_is_the_hessian_of_the_kl_in_the_parameters(problem):
    with precision("float64") as dtype:
        rng = np.random.default_rng(4)
        parameters = as_arrays(random_parameters(problem, rng, rows=1), dtype)
        tangent = as_arrays(random_parameters(problem, rng, rows=1), dtype)
        p = problem.distribution(parameters)

        def kl(at):
            return kl_divergence(p=p, q=problem.distribution(at))[0]

        def both(parameters, tangent):
            hessian = jax.jvp(jax.grad(kl), (parameters,), (tangent,))[1]
            return hessian, p.fisher_metric(problem.distribution(tangent))

        expected, actual = jax.jit(both)(parameters, tangent)
        for a, b in zip(jax.tree.leaves(actual), expected, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12)


def test_the_fisher_metric_of_a_categorical_is_the_covariance_of_its_score():
    rng = np.random.default_rng(5)
    logits, tangent = rng.normal(size=(2, 1, 5)).astype(np.float32)
    p = np.exp(log_softmax(logits))[0]
    scores = np.eye(5) - p
    expected = (scores.T * p) @ scores @ tangent[0]
    actual = Categorical(logits).fisher_metric(Categorical(tangent)).logits[0]
    np.testing.assert_allclose(actual, expected, atol=1e-6)


def test_a_log_std_for_all_states_gets_one_row_a_sample():
    distribution = DiagonalGaussian(jnp.zeros((7, 2)), jnp.zeros(2))
    assert distribution.log_std.shape == (7, 2)


@pytest.mark.parametrize("name", PAIRS)
def test_distributions_are_pytrees_that_pass_through_jit_and_vmap(name):
    p, q = PAIRS[name]
    assert isinstance(p, Distribution)
    stack = jax.tree.map(lambda *leaves: np.stack(leaves), p, q)
    kl = np.asarray(jax.jit(jax.vmap(lambda d: kl_divergence(p=d, q=q)))(stack))
    np.testing.assert_allclose(kl[0], kl_to(p, q), rtol=1e-6)
    assert kl[1] == 0


def test_many_actions_still_sum_to_one():
    (logits,) = (np.random.default_rng(6).normal(size=(1, 100_000)).astype(np.float32),)
    total = np.exp(np.asarray(Categorical(logits).log_probabilities, np.float64)).sum()
    assert total == pytest.approx(1, abs=1e-6)
