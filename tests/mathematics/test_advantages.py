import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from klamp import discounted_returns, gae, standardize

LENGTH = 6
PATTERNS = np.array(list(itertools.product(range(4), repeat=LENGTH))).T
"""All 4⁶ patterns: bit 0 says terminated, bit 1 truncated. One environment a column."""
TERMINATED, TRUNCATED = (PATTERNS & 1).astype(bool), (PATTERNS & 2).astype(bool)

jitted_gae = jax.jit(gae)
jitted_returns = jax.jit(discounted_returns)
jitted_standardize = jax.jit(standardize)


def random_steps(seed, shape=PATTERNS.shape):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(3, *shape)).astype(np.float32)


def gae_by_definition(reward, value, next_value, terminated, truncated, discount, trace_decay):
    """Σ (γλ)^l δ_{t+l} as far as the episode goes, in float64, forwards in time."""
    reward, value, next_value = (np.asarray(x, np.float64) for x in (reward, value, next_value))
    bootstrap = np.where(terminated, 0, discount * np.where(terminated, 0, next_value))
    delta = reward + bootstrap - value
    advantage = np.zeros_like(reward)
    for t in range(len(reward)):
        alive, power = np.ones(reward.shape[1:], bool), 1.0
        for k in range(t, len(reward)):
            advantage[t] += np.where(alive, power * delta[k], 0)
            alive = alive & ~terminated[k] & ~truncated[k]
            power *= discount * trace_decay
    return advantage


def returns_by_definition(reward, next_value, terminated, truncated, discount):
    """Rewards to the end of the episode, and V of what lies beyond a cut."""
    reward, next_value = (np.asarray(x, np.float64) for x in (reward, next_value))
    returns = np.zeros_like(reward)
    for t in range(len(reward)):
        alive, power = np.ones(reward.shape[1:], bool), 1.0
        for k in range(t, len(reward)):
            cut = truncated[k] | (k == len(reward) - 1)
            beyond = np.where(~terminated[k] & cut, discount * next_value[k], 0)
            returns[t] += np.where(alive, power * (reward[k] + beyond), 0)
            alive = alive & ~terminated[k] & ~cut
            power *= discount
    return returns


@pytest.mark.parametrize(
    ("discount", "trace_decay"), [(0.99, 0.95), (1.0, 1.0), (0.9, 0.0), (0.0, 0.9), (0.97, 1.0)]
)
def test_gae_is_its_definition_for_every_pattern_of_ends(discount, trace_decay):
    reward, value, next_value = random_steps(0)
    expected = gae_by_definition(
        reward, value, next_value, TERMINATED, TRUNCATED, discount, trace_decay
    )
    # V of a terminal state does not exist: whatever stands there is not read.
    next_value = np.where(TERMINATED, np.nan, next_value)
    actual = jitted_gae(
        jnp.asarray(reward),
        jnp.asarray(value),
        jnp.asarray(next_value),
        jnp.asarray(TERMINATED),
        jnp.asarray(TRUNCATED),
        discount=discount,
        trace_decay=trace_decay,
    )
    np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-5)


def test_gae_by_hand_with_a_truncation_and_a_termination():
    # γ = ½, λ = ½, so γλ = ¼. The episodes are steps 0 and 1 (truncated), 2 and 3 (terminated), 4.
    advantage = jitted_gae(
        jnp.array([1.0, 2.0, 3.0, 4.0, 5.0]),
        jnp.array([1.0, 1.0, 2.0, 2.0, 4.0]),
        jnp.array([1.0, 8.0, 2.0, jnp.nan, 6.0]),
        jnp.array([False, False, False, True, False]),
        jnp.array([False, True, False, False, False]),
        discount=0.5,
        trace_decay=0.5,
    )
    # δ = 1 + ½ − 1, 2 + 4 − 1, 3 + 1 − 2, 4 − 2, 5 + 3 − 4.
    np.testing.assert_allclose(advantage, [0.5 + 5 / 4, 5, 2 + 2 / 4, 2, 4])


def test_gae_takes_one_environment_or_a_grid_of_them():
    reward, value, next_value = (jnp.asarray(x) for x in random_steps(1, (5, 2, 3)))
    rng = np.random.default_rng(1)
    terminated, truncated = (jnp.asarray(x) for x in rng.random((2, 5, 2, 3)) < 0.2)
    settings_ = {"discount": 0.9, "trace_decay": 0.8}
    grid = jitted_gae(reward, value, next_value, terminated, truncated, **settings_)
    one = [x[:, 1, 2] for x in (reward, value, next_value, terminated, truncated)]
    np.testing.assert_allclose(grid[:, 1, 2], jitted_gae(*one, **settings_), rtol=1e-6)


def test_gae_of_one_step():
    one = jnp.ones((1, 1))
    no = jnp.zeros((1, 1), bool)
    assert jitted_gae(one, one, 3 * one, no, no, discount=0.5, trace_decay=0.9)[0, 0] == 1.5


def test_gae_takes_ends_as_numbers_too():
    reward, value, next_value = (jnp.asarray(x[:, :64]) for x in random_steps(2))
    ends = [jnp.asarray(x[:, :64]) for x in (TERMINATED, TRUNCATED)]
    numbers = [x.astype(jnp.float32) for x in ends]
    settings_ = {"discount": 0.9, "trace_decay": 0.8}
    np.testing.assert_array_equal(
        jitted_gae(reward, value, next_value, *ends, **settings_),
        jitted_gae(reward, value, next_value, *numbers, **settings_),
    )


def test_garbage_in_a_row_after_an_end_stays_in_that_row():
    # The reset row of NEXT_STEP autoreset follows an end; its weight is 0 and its content anything.
    reward, value, next_value = random_steps(3, (4, 1))
    ended = np.array([[False], [True], [False], [False]])
    no = np.zeros_like(ended)
    for bad in (reward, value, next_value):
        bad[2] = np.nan
    for terminated, truncated in ((ended, no), (no, ended)):
        flags = jnp.asarray(terminated), jnp.asarray(truncated)
        steps = (jnp.asarray(x) for x in (reward, value, next_value))
        advantage = jitted_gae(*steps, *flags, discount=0.9, trace_decay=0.9)
        assert np.all(np.isfinite(np.asarray(advantage)[[0, 1, 3]]))


@pytest.mark.parametrize("discount", [0.0, 0.9, 1.0])
def test_returns_are_their_definition_for_every_pattern_of_ends(discount):
    reward, _, next_value = random_steps(4)
    expected = returns_by_definition(reward, next_value, TERMINATED, TRUNCATED, discount)
    # Neither V of a terminal state is read, nor V inside an episode.
    unread = TERMINATED | (~TRUNCATED & (np.arange(LENGTH)[:, None] < LENGTH - 1))
    actual = jitted_returns(
        jnp.asarray(reward),
        jnp.asarray(np.where(unread, np.nan, next_value)),
        jnp.asarray(TERMINATED),
        jnp.asarray(TRUNCATED),
        discount=discount,
    )
    np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-5)


def test_returns_by_hand():
    returns = jitted_returns(
        jnp.array([1.0, 2.0, 3.0, 4.0]),
        jnp.array([jnp.nan, jnp.nan, 10.0, 20.0]),
        jnp.array([False, True, False, False]),
        jnp.array([False, False, True, False]),
        discount=0.5,
    )
    np.testing.assert_allclose(returns, [1 + 1, 2, 3 + 5, 4 + 10])


def test_advantage_with_full_trace_is_the_return_less_the_value():
    reward, value, next_value = (jnp.asarray(x) for x in random_steps(5))
    # Consistent values: V of the next observation is the next row's value within an episode.
    inside = ~(TERMINATED | TRUNCATED) & (np.arange(LENGTH)[:, None] < LENGTH - 1)
    next_value = jnp.where(inside, jnp.roll(value, -1, 0), next_value)
    ends = jnp.asarray(TERMINATED), jnp.asarray(TRUNCATED)
    advantage = jitted_gae(reward, value, next_value, *ends, discount=0.9, trace_decay=1.0)
    returns = jitted_returns(reward, next_value, *ends, discount=0.9)
    np.testing.assert_allclose(advantage, returns - value, rtol=1e-5, atol=1e-5)


@settings(deadline=None, max_examples=100, derandomize=True)
@given(
    seed=st.integers(0, 10_000),
    valid=st.integers(1, 32),
    offset=st.sampled_from([0.0, 1.0, -100.0]),
    scale=st.sampled_from([1e-30, 1e-3, 1.0, 1e10, 1e30]),
    garbage=st.sampled_from([np.nan, np.inf, -np.inf, 3e38]),
)
def test_standardize_gives_mean_zero_and_deviation_one(seed, valid, offset, scale, garbage):
    rng = np.random.default_rng(seed)
    weight = rng.permutation(np.arange(32) < valid) * rng.uniform(0.5, 2, 32)
    weight = weight.astype(np.float32)
    advantage = (scale * (offset + rng.normal(size=32))).astype(np.float32)
    advantage = np.where(weight > 0, advantage, np.float32(garbage))
    actual = np.asarray(jitted_standardize(jnp.asarray(advantage), jnp.asarray(weight)))
    kept = weight > 0
    exact = advantage[kept].astype(np.float64)
    mean = np.average(exact, weights=weight[kept])
    deviation = np.sqrt(np.average((exact - mean) ** 2, weights=weight[kept]))
    expected = (exact - mean) / deviation if valid > 1 else np.zeros(1)
    # The mean of 32 float32 numbers is known to a few roundings of the largest.
    tolerance = 1e-5 * max(1, np.abs(exact).max() / deviation if valid > 1 else 1)
    np.testing.assert_allclose(actual[kept], expected, atol=tolerance, rtol=1e-5)
    assert np.all(actual[~kept] == 0)


@pytest.mark.parametrize("count", [1, 2, 3, 1000])
def test_standardize_of_equal_values_is_exactly_zero(count):
    for value in (0.0, 0.1, -7.3, 1e30, -1e30, 1e-30):
        advantage = jnp.asarray(np.full(count, value, np.float32))
        weight = jnp.asarray(np.full(count, 0.3, np.float32))
        assert np.all(np.asarray(jitted_standardize(advantage)) == 0)
        assert np.all(np.asarray(jitted_standardize(advantage, weight)) == 0)


def test_standardize_without_any_weight_is_zero():
    standard = jitted_standardize(jnp.array([1.0, jnp.nan]), jnp.zeros(2))
    assert np.all(np.asarray(standard) == 0)


def test_standardize_without_weights_weighs_all_rows_alike():
    advantage = jnp.asarray(random_steps(6, (32,))[0])
    np.testing.assert_allclose(
        jitted_standardize(advantage),
        jitted_standardize(advantage, jnp.full(32, 0.3)),
        rtol=1e-4,
        atol=1e-6,
    )


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_standardize_does_not_turn_a_bad_advantage_into_a_good_one(bad):
    # The update has to see it and refuse, which zeros would prevent.
    advantage = jnp.array([1.0, bad, -2.0])
    assert np.all(np.isnan(np.asarray(jitted_standardize(advantage))))
    assert np.all(np.isnan(np.asarray(jitted_standardize(advantage, jnp.ones(3)))))
