import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from klamp import Batch, Categorical, Shared
from klamp.mathematics.weighting import (
    scored,
    scrub,
    weighted_maximum,
    weighted_mean,
    weighted_variance,
)

GARBAGE = [np.nan, np.inf, -np.inf, 1e38, -1e38]
FUNCTIONS = [weighted_mean, weighted_variance, weighted_maximum]

jitted = {f: jax.jit(f) for f in FUNCTIONS}
value_and_grad = {f: jax.jit(jax.value_and_grad(f)) for f in FUNCTIONS}


def draw(seed, size=16):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=size).astype(np.float32)
    weight = (rng.random(size) * (rng.random(size) < 0.7)).astype(np.float32)
    weight[0] = 0.5
    return x, weight


@settings(deadline=None, max_examples=50, derandomize=True)
@given(st.integers(0, 10_000))
def test_mean_variance_and_maximum_are_those_of_the_rows_with_weight(seed):
    x, weight = draw(seed)
    mean = np.average(x.astype(np.float64), weights=weight)
    variance = np.average((x - mean) ** 2, weights=weight)
    x, weight = jnp.asarray(x), jnp.asarray(weight)
    assert jitted[weighted_mean](x, weight) == pytest.approx(mean, rel=1e-5, abs=1e-6)
    assert jitted[weighted_variance](x, weight) == pytest.approx(variance, rel=1e-5, abs=1e-6)
    assert jitted[weighted_maximum](x, weight) == np.asarray(x)[np.asarray(weight) > 0].max()


@pytest.mark.parametrize("function", FUNCTIONS)
@settings(deadline=None, max_examples=50, derandomize=True)
@given(st.integers(0, 10_000), st.sampled_from(GARBAGE))
def test_garbage_under_weight_zero_changes_neither_value_nor_gradient(function, seed, garbage):
    x, weight = draw(seed)
    dirty = np.where(weight > 0, x, np.float32(garbage))
    clean = value_and_grad[function](jnp.asarray(x), jnp.asarray(weight))
    poisoned = value_and_grad[function](jnp.asarray(dirty), jnp.asarray(weight))
    np.testing.assert_array_equal(clean[0], poisoned[0])
    np.testing.assert_array_equal(clean[1], poisoned[1])
    assert np.all(np.asarray(poisoned[1])[weight == 0] == 0)


def test_a_nan_with_weight_is_not_hidden():
    x, weight = jnp.array([1.0, jnp.nan, 2.0]), jnp.array([1.0, 1.0, 0.0])
    assert jnp.isnan(weighted_mean(x, weight))
    assert jnp.isnan(weighted_variance(x, weight))
    assert jnp.isnan(weighted_maximum(x, weight))


def test_no_weights_weigh_all_rows_alike():
    x, _ = draw(0)
    x = jnp.asarray(x)
    for function in FUNCTIONS:
        assert function(x) == pytest.approx(float(function(x, jnp.full(16, 0.3))), rel=1e-5)


def test_without_any_weight_the_mean_is_zero_and_the_maximum_minus_infinity():
    x, none = jnp.array([1.0, jnp.nan]), jnp.zeros(2)
    assert weighted_mean(x, none) == 0
    assert weighted_variance(x, none) == 0
    assert weighted_maximum(x, none) == -jnp.inf


def test_the_variance_keeps_its_digits_beside_a_large_mean():
    x = 1e4 + np.linspace(-1, 1, 64).astype(np.float32)
    expected = np.var(x.astype(np.float64))
    assert weighted_variance(jnp.asarray(x), jnp.ones(64)) == pytest.approx(expected, rel=1e-4)


def test_a_mean_over_parts_is_the_mean_of_the_whole():
    # What lets several processes sum their shares: numerator and denominator use one weight.
    x, weight = draw(3)
    halves = [slice(0, 8), slice(8, 16)]
    totals = [float(weight[h].sum()) for h in halves]
    means = [float(weighted_mean(jnp.asarray(x[h]), jnp.asarray(weight[h]))) for h in halves]
    whole = float(weighted_mean(jnp.asarray(x), jnp.asarray(weight)))
    assert np.average(means, weights=totals) == pytest.approx(whole, rel=1e-5)


def test_scrub_replaces_the_rows_without_weight_and_nothing_else():
    weight = jnp.array([0.0, 1.0, 0.0, 2.0])
    tree = {
        "rows": jnp.array([[jnp.nan, jnp.inf], [1.0, 2.0], [jnp.nan, 0.0], [3.0, 4.0]]),
        "integers": jnp.array([6, 7, 8, 9]),
        "flags": jnp.array([False, True, True, False]),
        "prompt": Shared({"tokens": jnp.array([jnp.nan, 1.0, 2.0, 3.0]), "scale": 5.0}),
        "absent": None,
    }
    clean = scrub(tree, weight)
    np.testing.assert_array_equal(clean["rows"], [[1, 2], [1, 2], [1, 2], [3, 4]])
    np.testing.assert_array_equal(clean["integers"], [7, 7, 7, 9])
    np.testing.assert_array_equal(clean["flags"], [True, True, True, False])
    assert clean["prompt"] is tree["prompt"]
    assert clean["absent"] is None
    rows = ("rows", "integers", "flags")
    assert [clean[name].dtype for name in rows] == [tree[name].dtype for name in rows]


def test_where_no_row_has_weight_all_are_ones():
    clean = scrub({"x": jnp.full((3, 2), jnp.nan), "n": jnp.arange(3)}, jnp.zeros(3))
    np.testing.assert_array_equal(clean["x"], np.ones((3, 2)))
    np.testing.assert_array_equal(clean["n"], np.ones(3))


@pytest.mark.parametrize("leaf", [jnp.zeros(()), jnp.zeros((2, 3))])
def test_what_has_no_row_per_sample_must_be_declared(leaf):
    with pytest.raises(ValueError, match=r"one row per sample.*klamp\.Shared"):
        scrub({"x": leaf}, jnp.ones(3))


def test_a_scored_batch_keeps_its_weights():
    weight = jnp.array([0.0, 1.0, 0.5])
    x = jnp.array([jnp.nan, 1.0, 2.0])
    batch = scored(Batch(x, x, x, Categorical(jnp.stack([x, x], -1)), weight))
    np.testing.assert_array_equal(batch.weight, weight)
    np.testing.assert_array_equal(batch.inputs, [1, 1, 2])
    np.testing.assert_array_equal(batch.advantage, [0, 1, 2])


def test_scrub_without_weights_changes_nothing():
    tree = (jnp.array([1.0, jnp.nan]),)
    assert scrub(tree, None) is tree


def test_gradients_through_scrubbed_rows_are_those_of_the_rows_alone():
    # exp(1000) is infinite: a `where` on the result would leave 0·∞ in the gradient.
    def loss(scale, x, weight):
        return weighted_mean(jnp.exp(scale * scrub(x, weight)), weight)

    x, weight = jnp.array([0.5, 1000.0, jnp.nan]), jnp.array([1.0, 0.0, 0.0])
    assert jax.grad(loss)(1.0, x, weight) == pytest.approx(0.5 * np.exp(0.5), rel=1e-6)
