import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from problems import POLICIES, as_arrays

from klamp import Categorical
from klamp.mathematics import objectives
from klamp.mathematics.objectives import (
    clipped_surrogate,
    clipped_value_loss,
    effective_sample_size,
    entropy_bonus,
    explained_variance,
    importance_ratio,
    importance_surrogate,
    joint_loss,
    log_prob_surrogate,
    penalized_surrogate,
    reference_penalty,
    sequence_ratio,
    truncated_surrogate,
    value_loss,
)
from klamp.mathematics.weighting import scrub
from klamp.types import Reference

# Each function of the module, with what it takes beside one number per sample and the weight.
FUNCTIONS = {
    log_prob_surrogate: {},
    importance_surrogate: {},
    clipped_surrogate: {"clip": 0.2, "clip_upper": 0.3, "dual_clip": 3.0},
    truncated_surrogate: {"clip": 0.2, "clip_upper": 0.3},
    penalized_surrogate: {"kl_coefficient": 0.5},
    value_loss: {},
    clipped_value_loss: {"clip": 0.2},
    entropy_bonus: {},
    explained_variance: {},
    effective_sample_size: {},
}


def samples(function):
    """How many arrays of one number per sample the function takes."""
    names = inspect.signature(function).parameters
    return len([name for name in names if name not in FUNCTIONS[function] and name != "weight"])


def evaluator(function):
    def value(arrays, weight):
        return function(*arrays, weight=weight, **FUNCTIONS[function])

    return jax.jit(jax.value_and_grad(value))


EVALUATE = {function: evaluator(function) for function in FUNCTIONS}


def test_every_objective_of_the_module_is_under_the_masking_test():
    public = {
        member
        for name, member in vars(objectives).items()
        if inspect.isfunction(member)
        and member.__module__ == objectives.__name__
        and not name.startswith("_")
    }
    others = {importance_ratio, sequence_ratio, joint_loss, reference_penalty}
    assert public - others == set(FUNCTIONS)


def draw(seed, count, size=16):
    rng = np.random.default_rng(seed)
    arrays = [rng.lognormal(size=size).astype(np.float32) for _ in range(count)]
    weight = (rng.random(size) * (rng.random(size) < 0.7)).astype(np.float32)
    weight[:2] = 0.5
    return arrays, weight


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda f: f.__name__)
@settings(deadline=None, max_examples=30, derandomize=True)
@given(
    seed=st.integers(0, 10_000),
    garbage=st.lists(
        st.sampled_from([np.nan, np.inf, -np.inf, 1e38, -1e38, 0.0]), min_size=3, max_size=3
    ),
)
def test_garbage_under_weight_zero_changes_neither_value_nor_gradient(function, seed, garbage):
    arrays, weight = draw(seed, samples(function))
    dirty = [
        np.where(weight > 0, x, np.float32(bad)) for x, bad in zip(arrays, garbage, strict=False)
    ]
    clean_value, clean_gradient = EVALUATE[function](arrays, weight)
    dirty_value, dirty_gradient = EVALUATE[function](dirty, weight)
    assert np.isfinite(clean_value)
    np.testing.assert_array_equal(clean_value, dirty_value)
    np.testing.assert_array_equal(clean_gradient, dirty_gradient)
    assert np.all(np.asarray(dirty_gradient)[:, weight == 0] == 0)


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda f: f.__name__)
def test_rows_of_weight_zero_do_not_exist(function):
    # The value is that of the rows with weight alone, and equal weights are as good as none.
    arrays, weight = draw(5, samples(function))
    keep = np.flatnonzero(weight)[:4]
    half = np.zeros_like(weight)
    half[keep] = 0.5
    masked, _ = EVALUATE[function](arrays, half)
    alone, _ = EVALUATE[function]([x[keep] for x in arrays], None)
    assert masked == pytest.approx(float(alone), rel=1e-5)


@pytest.mark.parametrize("problem", POLICIES, ids=lambda p: p.head)
def test_a_masked_row_changes_no_gradient_of_the_policy_once_it_is_scrubbed(problem):
    # The whole chain that an update takes: log-ratios of ±1000 and NaN stay under weight 0.
    rng = np.random.default_rng(1)
    theta = problem.theta(rng)
    weight = (np.arange(problem.rows) < 11).astype(np.float32)
    clean = problem.batch(rng, theta, weight)
    keep = weight > 0

    @jax.jit
    def gradient(theta, batch):
        def objective(theta):
            rows = scrub(batch, batch.weight)
            new = problem.policy(theta, rows.inputs)
            ratio = importance_ratio(new.log_prob(rows.action), rows.old.log_prob(rows.action))
            gain = clipped_surrogate(ratio, rows.advantage, 0.2, rows.weight)
            return gain + entropy_bonus(new.entropy(), rows.weight)

        return jax.value_and_grad(objective)(theta)

    expected = gradient(as_arrays(theta), as_arrays(clean))
    for garbage in (np.nan, np.inf, 1e38, -1000.0):

        def spoil(leaf, garbage=garbage):
            leaf = np.array(leaf)
            leaf[~keep] = garbage if leaf.dtype.kind == "f" else 99
            return leaf

        dirty = jax.tree.map(spoil, clean._replace(weight=None))._replace(weight=weight)
        actual = gradient(as_arrays(theta), as_arrays(dirty))
        for a, b in zip(jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("problem", POLICIES, ids=lambda p: p.head)
def test_the_ratio_of_a_policy_to_itself_is_exactly_one(problem):
    rng = np.random.default_rng(2)
    theta = as_arrays(problem.theta(rng, scale=3.0))
    batch = as_arrays(problem.batch(rng, theta))

    @jax.jit
    def log_prob(theta, batch):
        return problem.policy(theta, batch.inputs).log_prob(batch.action)

    ratio = importance_ratio(log_prob(theta, batch), log_prob(theta, batch))
    assert np.all(np.asarray(ratio) == 1)


def test_the_ratio_is_new_over_old():
    new, old = jnp.log(jnp.array([0.6])), jnp.log(jnp.array([0.2]))
    assert importance_ratio(new, old)[0] == pytest.approx(3, rel=1e-6)


@pytest.mark.parametrize(
    ("ratio", "advantage", "value", "slope"),
    [
        (1.5, 2.0, 1.2 * 2.0, 0.0),  # better and already likelier: nothing more to gain
        (0.5, 2.0, 0.5 * 2.0, 2.0),  # better but less likely: pulled back
        (1.5, -2.0, 1.5 * -2.0, -2.0),  # worse but likelier: pushed down in full
        (0.5, -2.0, 0.8 * -2.0, 0.0),  # worse and already less likely: nothing more to gain
        (1.1, 2.0, 1.1 * 2.0, 2.0),  # inside: the plain surrogate
        (0.9, -2.0, 0.9 * -2.0, -2.0),
    ],
)
def test_clipped_surrogate_in_all_cases_of_sign_and_side(ratio, advantage, value, slope):
    ratio, advantage = jnp.array([ratio]), jnp.array([advantage])
    objective = jax.value_and_grad(lambda r: clipped_surrogate(r, advantage, 0.2))
    actual, gradient = objective(ratio)
    assert actual == pytest.approx(value, rel=1e-6)
    assert gradient[0] == pytest.approx(slope, rel=1e-6)


@pytest.mark.parametrize(
    ("ratio", "advantage", "value"),
    [(1.25, 1.0, 1.25), (1.5, 1.0, 1.3), (0.5, -1.0, -0.8), (2.0, -1.0, -2.0)],
)
def test_the_upper_clip_may_differ_from_the_lower(ratio, advantage, value):
    ratio, advantage = jnp.array([ratio]), jnp.array([advantage])
    actual = clipped_surrogate(ratio, advantage, 0.2, clip_upper=0.3)
    assert actual == pytest.approx(value, rel=1e-6)


@pytest.mark.parametrize(
    ("ratio", "advantage", "value"),
    [(5.0, -1.0, -3.0), (2.0, -1.0, -2.0), (0.5, -1.0, -0.8), (5.0, 1.0, 1.2), (0.5, 1.0, 0.5)],
)
def test_the_dual_clip_bounds_bad_samples_alone(ratio, advantage, value):
    ratio, advantage = jnp.array([ratio]), jnp.array([advantage])
    actual = clipped_surrogate(ratio, advantage, 0.2, dual_clip=3.0)
    assert actual == pytest.approx(value, rel=1e-6)


def test_clipped_surrogate_is_never_above_the_plain_one():
    (ratio, noise), _ = draw(6, 2, size=200)
    advantage = jnp.asarray(noise - 1)
    for i in range(0, 200, 20):
        part = jnp.asarray(ratio)[i : i + 1], advantage[i : i + 1]
        assert clipped_surrogate(*part, 0.2) <= importance_surrogate(*part)


def test_plain_objectives_by_hand():
    ratio, advantage, kl = jnp.array([2.0, 0.5]), jnp.array([1.0, -4.0]), jnp.array([0.1, 0.3])
    weight = jnp.array([3.0, 1.0])
    assert importance_surrogate(ratio, advantage) == pytest.approx(0)
    assert importance_surrogate(ratio, advantage, weight) == pytest.approx((3 * 2 - 2) / 4)
    assert log_prob_surrogate(ratio, advantage, weight) == pytest.approx((3 * 2 - 2) / 4)
    penalized = penalized_surrogate(ratio, advantage, kl, 2.0, weight)
    assert penalized == pytest.approx((3 * (2 - 0.2) + (-2 - 0.6)) / 4)
    assert value_loss(ratio, advantage) == pytest.approx((1 + 4.5**2) / 4)
    assert entropy_bonus(ratio, weight) == pytest.approx(6.5 / 4)


def test_the_joint_loss_is_equation_9_whose_squared_error_has_no_half():
    value, target = jnp.array([1.0, 3.0]), jnp.array([2.0, 0.0])
    half = value_loss(value, target)
    loss = joint_loss(
        jnp.array(7.0), half, jnp.array(2.0), value_coefficient=0.3, entropy_coefficient=0.01
    )
    assert loss == pytest.approx(-(7 - 0.3 * (1 + 9) / 2 + 0.01 * 2))


def test_the_gradient_of_the_log_prob_surrogate_is_that_of_the_importance_surrogate_at_old():
    (log_prob, advantage), weight = draw(7, 2)

    def importance(at):
        ratio = importance_ratio(at, jnp.asarray(log_prob))
        return importance_surrogate(ratio, jnp.asarray(advantage), jnp.asarray(weight))

    def score(at):
        return log_prob_surrogate(at, jnp.asarray(advantage), jnp.asarray(weight))

    at = jnp.asarray(log_prob)
    np.testing.assert_allclose(jax.grad(importance)(at), jax.grad(score)(at), rtol=1e-6)


@pytest.mark.parametrize(
    ("value", "loss", "slope"),
    [
        (1.1, 0.9**2 / 2, -0.9),  # within the clip: the plain loss
        (1.5, 0.8**2 / 2, 0.0),  # moved far towards the target: pulled no further
        (0.5, 1.5**2 / 2, -1.5),  # moved far away from it: pulled back in full
        (4.0, 2.0**2 / 2, 2.0),  # far beyond it: pulled back in full
    ],
)
def test_clipped_value_loss_by_hand(value, loss, slope):
    # V_old = 1, target 2, c = 0.2.
    def at(value):
        return clipped_value_loss(value, jnp.array([1.0]), jnp.array([2.0]), 0.2)

    actual, gradient = jax.value_and_grad(at)(jnp.array([value]))
    assert actual == pytest.approx(loss, rel=1e-5)
    assert gradient[0] == pytest.approx(slope, rel=1e-5, abs=1e-6)


def test_explained_variance_is_one_for_the_truth_and_zero_for_a_constant():
    target = jnp.array([1.0, 2.0, 4.0])
    assert explained_variance(target, target) == 1
    assert explained_variance(jnp.full(3, 9.0), target) == pytest.approx(0, abs=1e-6)
    assert explained_variance(-target, target) == pytest.approx(-3, rel=1e-6)
    # Nothing to explain: no number is right.
    assert jnp.isnan(explained_variance(target, jnp.ones(3)))


def test_effective_sample_size_is_the_share_that_is_left():
    assert effective_sample_size(jnp.zeros(8)) == 1
    assert effective_sample_size(jnp.array([0, -jnp.inf, -jnp.inf, -jnp.inf])) == 0.25
    # Also where the ratios themselves, or their squares, over- or underflow.
    for unit in (0.0, 60.0, -60.0, 500.0, -500.0):
        log_ratio = unit + jnp.log(jnp.array([3.0, 1.0]))
        assert effective_sample_size(log_ratio) == pytest.approx(16 / 20, rel=1e-4)


def test_the_gradient_of_the_reference_penalty_is_the_true_one() -> None:
    """Against finite differences in float64; the policy and not its reference is differentiated."""
    with jax.enable_x64(True):
        new, far = (jax.random.normal(jax.random.key(seed), (2, 3, 5)) for seed in (0, 1))
        weight = jnp.asarray([[1, 1, 0], [1, 0, 0.0]])
        price = jnp.asarray([[0.5, 2.0, 1.0], [1.0, 1.0, 1.0]])

        def penalty(logits):
            return reference_penalty(
                Categorical(logits), Reference(Categorical(far), price), weight
            )

        p, q = (np.asarray(jax.nn.softmax(x)) for x in (new, far))
        kl = (p * np.log(p / q)).sum(-1)
        expected = (0.5 * kl[0, 0] + 2 * kl[0, 1] + kl[1, 0]) / 3
        np.testing.assert_allclose(penalty(new), expected, rtol=1e-12)
        gradient, nudge = jax.grad(penalty)(new), jax.random.normal(jax.random.key(2), new.shape)
        central = (penalty(new + 1e-5 * nudge) - penalty(new - 1e-5 * nudge)) / 2e-5
        np.testing.assert_allclose(jnp.sum(gradient * nudge), central, rtol=1e-8)
        np.testing.assert_array_equal(gradient[0, 2], 0)
        assert float(reference_penalty(Categorical(new), None, weight)) == 0
