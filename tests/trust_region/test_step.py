from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from problems import POLICIES, PolicyProblem, as_arrays, bits

from klamp import Categorical, Outcome, trust_region_step
from klamp.trust_region.report import StepReport

FAMILIES = [
    PolicyProblem("categorical", observations=2, hidden=3, actions=2, rows=8),
    PolicyProblem("gaussian", observations=3, hidden=6, actions=1, rows=16),
    PolicyProblem("gaussian of the state", observations=5, hidden=8, actions=3, rows=96),
]
EACH = 334
"""Problems of each family: a thousand together."""


def stack(trees):
    return jax.tree.map(lambda *leaves: np.stack(leaves), *trees)


def unstack(tree, index):
    return jax.tree.map(lambda leaf: np.asarray(leaf)[index], tree)


def random_problem(family, rng):
    """θ, a batch whose rows beyond a random number weigh 0 and hold garbage, δ and damping."""
    theta = family.theta(rng, scale=rng.choice([0.3, 1.0, 3.0]))
    weight = rng.uniform(0.1, 2, family.rows).astype(np.float32)
    valid = rng.integers(2, family.rows + 1)
    weight[rng.permutation(family.rows)[valid:]] = 0
    batch = family.batch(rng, theta, weight)
    scale, offset = np.float32(10 ** rng.uniform(-3, 3)), np.float32(rng.choice([0.0, 1.0]))
    batch = batch._replace(advantage=scale * (batch.advantage + offset))

    def spoil(leaf):
        leaf = np.array(leaf)
        leaf[weight == 0] = np.nan if leaf.dtype.kind == "f" else 99
        return leaf

    batch = jax.tree.map(spoil, batch._replace(weight=None))._replace(weight=weight)
    return theta, batch, np.float32(10 ** rng.uniform(-4, -1)), np.float32(10 ** rng.uniform(-4, 0))


@partial(jax.jit, static_argnums=0)
def solve_many(family, theta, batch, max_kl, damping):
    """All problems of a family in one compiled, batched call."""

    def solve(theta, batch, max_kl, damping):
        return trust_region_step(family.policy, theta, batch, max_kl=max_kl, damping=damping)

    return jax.vmap(solve)(theta, batch, max_kl, damping)


class Solved:
    """Random problems of one family, and the library's steps for them."""

    def __init__(self, family, seed=0, count=EACH, max_kl=None):
        rng = np.random.default_rng(seed)
        problems = [random_problem(family, rng) for _ in range(count)]
        self.family, self.count = family, count
        theta, batch, self.max_kl, self.damping = stack(problems)
        self.max_kl = self.max_kl if max_kl is None else np.full_like(self.max_kl, max_kl)
        self.theta, self.batch = theta, batch
        arguments = as_arrays((theta, batch, self.max_kl, self.damping))
        self.new_theta, self.report = jax.device_get(solve_many(family, *arguments))

    def judge(self, index):
        """Mean KL(old‖new) and the two surrogates, in float64 from the definitions."""
        theta, new_theta, batch = (
            unstack(tree, index) for tree in (self.theta, self.new_theta, self.batch)
        )
        keep = batch.weight > 0
        share = batch.weight[keep].astype(np.float64) / batch.weight[keep].sum(dtype=np.float64)
        theta, new_theta = (
            jax.tree.map(lambda leaf: leaf.astype(np.float64), each) for each in (theta, new_theta)
        )
        inputs = batch.inputs[keep].astype(np.float64)
        old, new = (self.family.parameters(each, inputs) for each in (theta, new_theta))
        kl = share @ self.family.kl(old, new)
        action, advantage = batch.action[keep], batch.advantage[keep].astype(np.float64)
        gain = self.family.log_prob(new, action) - self.family.log_prob(old, action)
        return kl, share @ (np.expm1(gain) * advantage), share @ np.abs(advantage)


@pytest.fixture(scope="module", params=FAMILIES, ids=lambda f: f"{f.head}, {f.rows} rows")
def solved(request):
    return Solved(request.param)


def test_no_accepted_step_leaves_the_region_or_worsens_the_surrogate(solved):
    accepted = np.flatnonzero(solved.report.outcome == Outcome.ACCEPTED)
    # Not vacuous: most random problems have a step to make.
    assert len(accepted) > 0.8 * solved.count
    for i in accepted:
        kl, gain, _ = solved.judge(i)
        assert kl <= solved.max_kl[i]
        assert gain > 0
        assert bits(unstack(solved.new_theta, i)) != bits(unstack(solved.theta, i))


def test_every_refused_step_returns_the_very_bits(solved):
    for i in np.flatnonzero(solved.report.outcome != Outcome.ACCEPTED):
        assert bits(unstack(solved.new_theta, i)) == bits(unstack(solved.theta, i))
        assert solved.report.step_scale[i] == 0
        assert solved.report.kl[i] == 0
        assert solved.report.gain_actual[i] == 0


def test_the_report_tells_what_is_true_of_the_returned_theta(solved):
    report = solved.report
    for i in np.flatnonzero(report.outcome == Outcome.ACCEPTED):
        kl, gain, size = solved.judge(i)
        assert report.kl[i] == pytest.approx(kl, rel=1e-2)
        assert report.gain_actual[i] == pytest.approx(gain, rel=1e-2, abs=1e-5 * size)
        after = report.surrogate_before[i] + gain
        assert report.surrogate_after[i] == pytest.approx(after, rel=1e-3, abs=1e-4 * size)
        assert 0 <= report.backtracks[i] <= 10


def test_the_models_predictions_hold_for_short_steps(solved):
    report = solved.report
    small = (report.outcome == Outcome.ACCEPTED) & (report.kl < 1e-3)
    assert small.sum() > 20
    ratio = report.kl[small] / report.kl_predicted[small]
    assert 0.9 < np.median(ratio) < 1.1
    ratio = report.gain_actual[small] / report.gain_predicted[small]
    assert 0.9 < np.median(ratio) < 1.1


@pytest.mark.parametrize("max_kl", [1e-6, 1e-9, 1e-12, 1e-15])
def test_a_region_smaller_than_rounding_is_respected_as_well(max_kl):
    # Here the gain and the KL of a step are near the rounding errors of float32.
    solved = Solved(FAMILIES[0], seed=1, max_kl=max_kl)
    for i in range(solved.count):
        if solved.report.outcome[i] == Outcome.ACCEPTED:
            kl, gain, _ = solved.judge(i)
            assert kl <= max_kl
            assert gain > 0
        else:
            assert bits(unstack(solved.new_theta, i)) == bits(unstack(solved.theta, i))


# --- one problem, every outcome ------------------------------------------------------------------

CATEGORICAL, GAUSSIAN = POLICIES[0], POLICIES[1]


def one_problem(problem=CATEGORICAL, seed=0):
    rng = np.random.default_rng(seed)
    theta = problem.theta(rng)
    # A −0.0 and a number below the normal ones: only an identity keeps their bits.
    theta["b1"][:2] = -0.0, 1e-42
    return as_arrays(theta), as_arrays(problem.batch(rng, theta, np.ones(problem.rows, "f4")))


def refused(theta, batch, outcome, problem=CATEGORICAL, **options):
    new_theta, report = trust_region_step(problem.policy, theta, batch, **options)
    assert Outcome(int(report.outcome)) is outcome
    assert bits(new_theta) == bits(theta)
    assert jax.tree.map(lambda x: x.dtype, new_theta) == jax.tree.map(lambda x: x.dtype, theta)
    assert float(report.step_scale) == 0
    return report


def test_an_ordinary_step_is_accepted():
    theta, batch = one_problem()
    new_theta, report = trust_region_step(CATEGORICAL.policy, theta, batch)
    assert int(report.outcome) == Outcome.ACCEPTED
    assert jax.tree.structure(new_theta) == jax.tree.structure(theta)
    assert 0 < report.kl <= 0.01
    assert report.gain_actual > 0
    assert isinstance(report, StepReport)
    assert all(isinstance(leaf, jax.Array) and leaf.shape == () for leaf in report)


@pytest.mark.parametrize("value", [0.0, -0.0])
def test_advantages_of_zero_give_a_zero_gradient(value):
    theta, batch = one_problem()
    batch = batch._replace(advantage=jnp.full_like(batch.advantage, value))
    refused(theta, batch, Outcome.ZERO_GRADIENT)


def test_a_batch_without_weight_gives_a_zero_gradient():
    theta, batch = one_problem()
    batch = batch._replace(weight=jnp.zeros_like(batch.weight))
    report = refused(theta, batch, Outcome.ZERO_GRADIENT)
    assert report.kl == 0


@pytest.mark.parametrize("damping", [-10.0, -1000.0])
def test_negative_damping_gives_nonpositive_curvature(damping):
    refused(*one_problem(), Outcome.NONPOSITIVE_CURVATURE, damping=damping)


def test_a_step_too_bold_exhausts_the_line_search():
    # Far from uniform and at the scale of a whole nat the quadratic model fails; without backtracks
    # nothing else is tried, and with backtracks a shorter step is found.
    theta, batch = one_problem()
    theta["b2"] = jnp.array([8.0, 0.0, 0.0, 0.0])
    old = CATEGORICAL.policy(theta, batch.inputs)
    batch = batch._replace(old=old, action=jnp.ones_like(batch.action))
    batch = batch._replace(advantage=jnp.ones_like(batch.advantage))
    options = {"max_kl": 1.0, "damping": 1e-6}
    report = refused(theta, batch, Outcome.LINE_SEARCH_EXHAUSTED, max_backtracks=0, **options)
    assert report.backtracks == 0
    _, report = trust_region_step(CATEGORICAL.policy, theta, batch, backtrack_ratio=0.5, **options)
    assert int(report.outcome) == Outcome.ACCEPTED
    assert report.backtracks > 0
    assert report.kl <= 1.0


def test_a_region_that_the_policy_has_already_left_exhausts_the_line_search():
    theta, batch = one_problem()
    elsewhere = Categorical(batch.old.logits + jnp.array([3.0, 0.0, 0.0, 0.0]))
    report = refused(theta, batch._replace(old=elsewhere), Outcome.LINE_SEARCH_EXHAUSTED)
    assert report.backtracks == 10
    assert report.kl > 0.01


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("place", ["advantage", "inputs", "old", "theta"])
def test_nan_and_infinity_anywhere_are_non_finite(place, bad):
    theta, batch = one_problem()
    if place == "theta":
        theta["w2"] = theta["w2"].at[1, 2].set(bad)
    elif place == "old":
        batch = batch._replace(old=Categorical(batch.old.logits.at[3, 1].set(bad)))
    else:
        leaf = getattr(batch, place)
        batch = batch._replace(**{place: leaf.at[(3, *[1] * (leaf.ndim - 1))].set(bad)})
    if place == "inputs" and np.isinf(bad):
        # tanh(±∞) is finite; 0·∞ in its derivative is not.
        theta["w1"] = theta["w1"].at[1].set(0.0)
    refused(theta, batch, Outcome.NON_FINITE)


@pytest.mark.parametrize("problem", POLICIES[:2], ids=lambda p: p.head)
def test_garbage_under_weight_zero_changes_no_bit_of_the_step(problem):
    theta, batch = one_problem(problem)
    keep = np.arange(problem.rows) < 11
    batch = batch._replace(weight=jnp.asarray(keep, jnp.float32))

    def spoil(garbage):
        def leaf(x):
            x = np.array(x)
            x[~keep] = garbage if x.dtype.kind == "f" else -7
            return jnp.asarray(x)

        return jax.tree.map(leaf, batch._replace(weight=None))._replace(weight=batch.weight)

    expected = trust_region_step(problem.policy, theta, batch)
    assert int(expected[1].outcome) == Outcome.ACCEPTED
    for garbage in (np.nan, np.inf, -1e38):
        actual = trust_region_step(problem.policy, theta, spoil(garbage))
        assert bits(actual) == bits(expected)


@pytest.mark.parametrize("scale", [1e-8, 1e-3, 1e6])
def test_the_step_does_not_depend_on_the_unit_of_the_advantages(scale):
    theta, batch = one_problem(GAUSSIAN)
    scaled = batch._replace(advantage=np.float32(scale) * batch.advantage)
    (one, report), (other, _) = (
        trust_region_step(GAUSSIAN.policy, theta, each) for each in (batch, scaled)
    )
    assert int(report.outcome) == Outcome.ACCEPTED
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
