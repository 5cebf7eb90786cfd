import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from klamp.mathematics.normalization import (
    CLIP,
    Moments,
    Scaling,
    discounted_sums,
    empty_moments,
    identity_scaling,
    kept_moments,
    moments_of,
    normalize,
    scaling,
    update_moments,
)


def of_rows(rows, keep=None):
    """The moments of rows [B, …], as of a rollout of one environment."""
    keep = np.ones(len(rows), bool) if keep is None else keep
    return kept_moments(rows[:, None], keep[:, None])


def merge(parts, shape):
    moments = empty_moments(shape)
    for part in parts:
        moments = update_moments(moments, of_rows(part))
    return moments


@settings(deadline=None, max_examples=100, derandomize=True)
@given(
    seed=st.integers(0, 10_000),
    cuts=st.lists(st.integers(0, 200), max_size=6),
    offset=st.sampled_from([0.0, 1.0, -1e4, 1e8]),
)
def test_the_moments_are_numpys_whatever_the_parts_and_their_order(seed, cuts, offset):
    rng = np.random.default_rng(seed)
    rows = offset + rng.normal(size=(200, 3)) * [1.0, 0.1, 10.0]
    parts = np.split(rows, sorted(cuts))
    orders = [parts, parts[::-1], [parts[i] for i in rng.permutation(len(parts))]]
    for order in orders:
        moments = merge(order, (3,))
        assert moments.samples == 200
        np.testing.assert_allclose(moments.mean, rows.mean(0), rtol=1e-12, atol=1e-12)
        # At an offset of 1e8 the input itself is rounded to 1e-8, a share of 1e-7 of deviation 0.1.
        tolerance = 1e-10 if abs(offset) < 1e6 else 1e-6
        np.testing.assert_allclose(moments.variance, rows.var(0), rtol=tolerance)


def test_one_sample_at_a_time_is_the_same_as_all_at_once():
    rows = np.random.default_rng(0).normal(size=(500, 2)) + 1e8
    single = merge(rows[:, None], (2,))
    whole = merge([rows], (2,))
    np.testing.assert_allclose(single.mean, whole.mean, rtol=1e-14)
    np.testing.assert_allclose(single.variance, whole.variance, rtol=1e-7)
    np.testing.assert_allclose(whole.variance, rows.var(0), rtol=1e-7)


def test_float32_samples_are_summed_in_float64():
    rows = (1000 + np.random.default_rng(1).normal(size=(100_000, 1))).astype(np.float32)
    moments = merge([rows], (1,))
    assert moments.mean.dtype == np.float64
    np.testing.assert_allclose(moments.mean, rows.astype(np.float64).mean(0), rtol=1e-12)
    np.testing.assert_allclose(moments.variance, rows.astype(np.float64).var(0), rtol=1e-9)


def test_moments_in_float32_keep_their_digits_far_from_zero():
    samples = np.random.default_rng(0).normal(1000, 0.1, (64, 32, 3)).astype(np.float32)
    found = jax.jit(moments_of)(samples)
    exact = samples.astype(np.float64).reshape(-1, 3)
    assert found.samples == 64 * 32
    np.testing.assert_allclose(found.mean, exact.mean(axis=0), rtol=1e-7)
    squares = np.square(exact - exact.mean(axis=0)).sum(axis=0)
    np.testing.assert_allclose(found.deviations, squares, rtol=1e-4)


def test_a_billion_samples_still_move_by_the_right_amount():
    long = Moments(np.asarray(1e9), np.zeros(1), np.full(1, 1e9))
    moments = update_moments(long, of_rows(np.full((1000, 1), 5.0)))
    assert moments.samples == 1e9 + 1000
    share = 1000 / (1e9 + 1000)
    assert moments.mean[0] == pytest.approx(5 * share, rel=1e-12)
    assert moments.variance[0] == pytest.approx(1 - share + 25 * share * (1 - share), rel=1e-12)


def test_rows_that_are_not_kept_do_not_exist():
    rows = np.random.default_rng(2).normal(size=(20, 3))
    keep = np.arange(20) % 3 > 0
    dirty = np.where(keep[:, None], rows, np.nan)
    for a, b in zip(
        update_moments(empty_moments((3,)), of_rows(dirty, keep)),
        update_moments(empty_moments((3,)), of_rows(rows[keep])),
        strict=True,
    ):
        np.testing.assert_array_equal(a, b)


def test_no_samples_change_nothing():
    before = merge([np.random.default_rng(3).normal(size=(5, 2))], (2,))
    after = update_moments(before, of_rows(np.full((4, 2), np.nan), np.zeros(4, bool)))
    for a, b in zip(before, after, strict=True):
        np.testing.assert_array_equal(a, b)


def test_before_anything_was_seen_the_scaling_changes_nothing():
    x = jnp.array([[-3.0, 0.0, 2.5]])
    np.testing.assert_allclose(normalize(x, scaling(empty_moments((3,)))), x, rtol=1e-6)
    np.testing.assert_array_equal(normalize(x, identity_scaling((3,))), x)


def test_observations_of_any_shape_have_moments_a_feature():
    images = np.random.default_rng(4).normal(size=(50, 2, 3, 4))
    moments = merge([images[:20], images[20:]], (2, 3, 4))
    np.testing.assert_allclose(moments.mean, images.mean(0), atol=1e-12)
    np.testing.assert_allclose(moments.variance, images.var(0), rtol=1e-10)


def test_normalised_samples_have_mean_zero_and_deviation_one():
    rows = 50 + 7 * np.random.default_rng(5).normal(size=(2000, 2)).astype(np.float32)
    seen = np.asarray(jax.jit(normalize)(rows, scaling(merge([rows], (2,)))))
    assert seen.dtype == np.float32
    np.testing.assert_allclose(seen.mean(0), 0, atol=1e-4)
    np.testing.assert_allclose(seen.std(0), 1, rtol=1e-4)


def test_outliers_are_clipped_to_ten_deviations():
    by = scaling(merge([np.array([[-1.0], [1.0]])], (1,)))
    x = jnp.array([[1e6], [-1e6], [9.0]])
    np.testing.assert_allclose(normalize(x, by)[:, 0], [CLIP, -CLIP, 9], rtol=1e-6)


def test_a_feature_that_never_changes_stays_finite():
    by = scaling(merge([np.full((10, 1), 3.0)], (1,)))
    assert np.all(np.isfinite(by.factor))
    np.testing.assert_array_equal(normalize(jnp.array([[3.0], [4.0]]), by), [[0], [CLIP]])


def test_without_centring_the_sign_is_kept():
    moments = merge([np.array([4.0, 6.0])], ())
    by = scaling(moments, centre=False)
    assert by.shift == 0
    assert by.factor == pytest.approx(1, rel=1e-6)


@pytest.mark.parametrize("split", [0, 3, 10])
def test_discounted_sums_start_anew_after_each_episode_and_go_on_between_rollouts(split):
    rng = np.random.default_rng(6)
    reward, ended = rng.normal(size=(10, 4)), rng.random((10, 4)) < 0.3
    expected = np.zeros((10, 4))
    for i in range(4):
        running = 0.0
        for t in range(10):
            running = 0.9 * running + reward[t, i]
            expected[t, i] = running
            running = 0.0 if ended[t, i] else running
    carry, first = discounted_sums(np.zeros(4), reward[:split], ended[:split], 0.9)
    carry, second = discounted_sums(carry, reward[split:], ended[split:], 0.9)
    np.testing.assert_allclose(np.concatenate([first, second]), expected, rtol=1e-12)
    np.testing.assert_array_equal(carry, np.where(ended[-1], 0, expected[-1]))


def test_features_beyond_the_scaling_stay_as_they_are():
    x = jnp.array([[1.0, -2.0, 300.0], [0.0, 4.0, -0.5]])
    by = Scaling(np.array([1.0, 0.0], np.float32), np.array([2.0, 10.0], np.float32))
    np.testing.assert_array_equal(normalize(x, by), [[0, -CLIP, 300], [-2, CLIP, -0.5]])
