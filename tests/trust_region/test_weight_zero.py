"""Rows of weight 0: every distribution's step is that of the batch without them."""

from functools import cache

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from problems import bits

from klamp import Batch, Outcome, Shared, fisher_vector_product, trust_region_step
from klamp.mathematics.distributions import (
    Bernoulli,
    Categorical,
    DiagonalGaussian,
    Joint,
    MultiCategorical,
    ScaledBeta,
    SquashedGaussian,
)

ROWS, OBSERVATIONS = 24, 3
LOW, HIGH = (-1.0, -1.0), (1.0, 1.0)


def gaussian(out):
    return DiagonalGaussian(out[:, :2], jnp.asarray([-0.5, 0.2]))


def beta(out):
    return ScaledBeta(*(1 + jax.nn.softplus(x) for x in (out[:, :2], out[:, 2:4])), LOW, HIGH)


BUILD = {
    "gaussian": gaussian,
    "gaussian of the state": lambda out: DiagonalGaussian(out[:, :2], 0.3 * out[:, 2:4]),
    "squashed": lambda out: SquashedGaussian(
        DiagonalGaussian(out[:, :2], 0.3 * out[:, 2:4]), LOW, HIGH
    ),
    "joint": lambda out: Joint((Categorical(out[:, :2]), gaussian(out[:, 2:]))),
    "beta": beta,
    "categorical": Categorical,
    "bernoulli": Bernoulli,
    "multi-categorical": lambda out: MultiCategorical(out, (3, 2)),
}
FEW = ("gaussian", "gaussian of the state", "joint", "categorical")
FAMILIES = [
    pytest.param(family, marks=() if family in FEW else pytest.mark.compiles) for family in BUILD
]
"""A step takes two seconds to compile, of Beta policies four."""
fisher_product = eqx.filter_jit(fisher_vector_product)
GARBAGE = [np.nan, np.inf, -1e38, 0.0]


@cache
def policy_of(family):
    """One function for all tests: of another one the step would be compiled again."""
    return lambda theta, inputs: BUILD[family](jnp.tanh(inputs) @ theta)


@cache
def problem(family):
    """θ, a batch of rows with weight only, and the same rows among others of weight 0."""
    rng = np.random.default_rng(3)
    theta = jnp.asarray(rng.normal(size=(OBSERVATIONS, 5)), jnp.float32)
    inputs = jnp.asarray(rng.normal(size=(ROWS, OBSERVATIONS)), jnp.float32)

    @jax.jit
    def sampled(theta, inputs):
        old = policy_of(family)(theta, inputs)
        return old, old.sample(jax.random.key(0))

    old, action = sampled(theta, inputs)
    advantage = jnp.asarray(rng.normal(size=ROWS), jnp.float32)
    batch = Batch(inputs, action, advantage, old, jnp.ones(ROWS))
    keep = np.arange(ROWS) % 3 != 0
    return theta, rows_of(batch, keep), batch, keep


def rows_of(batch, keep):
    return jax.device_put(jax.tree.map(lambda leaf: np.asarray(leaf)[keep], batch))


def spoiled(batch, keep, garbage):
    """The batch with garbage in the rows that are not kept, and no weight there."""

    def spoil(leaf):
        leaf = np.array(leaf)
        leaf[~keep] = garbage if leaf.dtype.kind == "f" else -7
        return jax.device_put(leaf)

    return jax.tree.map(spoil, batch)._replace(weight=jnp.asarray(keep, jnp.float32))


@pytest.mark.parametrize("family", FAMILIES)
def test_the_step_is_that_of_the_batch_without_them(family):
    theta, bare, batch, keep = problem(family)
    expected, told = trust_region_step(policy_of(family), theta, bare)
    assert int(told.outcome) == Outcome.ACCEPTED
    first = trust_region_step(policy_of(family), theta, spoiled(batch, keep, np.nan))
    np.testing.assert_allclose(first[0], expected, rtol=2e-4, atol=1e-5)
    assert float(first[1].kl) == pytest.approx(float(told.kl), rel=1e-3)
    for garbage in GARBAGE[1:]:
        again = trust_region_step(policy_of(family), theta, spoiled(batch, keep, garbage))
        assert bits(again) == bits(first)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_fisher_product_is_that_of_the_batch_without_them(family):
    theta, bare, batch, keep = problem(family)
    policy, vector = policy_of(family), jnp.ones_like(theta)
    expected = fisher_product(policy, theta, bare.inputs, vector)
    dirty = spoiled(batch, keep, np.nan)
    found = fisher_product(policy, theta, dirty.inputs, vector, weight=dirty.weight)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_batch_without_any_weight_has_no_gradient(family):
    theta, _, batch, keep = problem(family)
    dirty = spoiled(batch, keep & False, np.nan)
    moved, report = trust_region_step(policy_of(family), theta, dirty)
    assert int(report.outcome) == Outcome.ZERO_GRADIENT
    assert bits(moved) == bits(theta)


def test_what_scored_rows_look_at_is_kept_where_it_is_declared():
    # As many tokens in the prompt as rows in the batch: no shape can tell the two apart.
    theta, _, batch, keep = problem("categorical")
    prompt = jnp.linspace(-1, 1, ROWS)

    def policy(theta, inputs):
        rows, shared = inputs
        return Categorical(jnp.tanh(rows + jnp.sum(shared.value**3) + shared.value[0]) @ theta)

    inputs = (batch.inputs, Shared(prompt))
    batch = batch._replace(inputs=inputs, old=policy(theta, inputs))
    dirty = spoiled(batch._replace(inputs=batch.inputs[0]), keep, np.nan)
    weighted = dirty._replace(inputs=(dirty.inputs, Shared(prompt)))
    bare = rows_of(batch._replace(inputs=batch.inputs[0]), keep)
    bare = bare._replace(inputs=(bare.inputs, Shared(prompt)))
    expected, told = trust_region_step(policy, theta, bare)
    found, report = trust_region_step(policy, theta, weighted)
    assert int(told.outcome) == int(report.outcome) == Outcome.ACCEPTED
    np.testing.assert_allclose(found, expected, rtol=2e-4, atol=1e-5)


@pytest.mark.parametrize("family", ["gaussian", "squashed", "categorical"])
@pytest.mark.parametrize("scale", [1e-30, 1e-25, 1e-8, 1e8, 1e25, 1e37])
def test_the_step_does_not_depend_on_the_unit_of_the_reward(family, scale):
    theta, bare, _, _ = problem(family)
    # A power of two: no digit differs.
    unit = np.float32(2.0 ** np.round(np.log2(scale)))
    expected, told = trust_region_step(policy_of(family), theta, bare)
    scaled = bare._replace(advantage=unit * bare.advantage)
    found, report = trust_region_step(policy_of(family), theta, scaled)
    assert int(report.outcome) == int(told.outcome) == Outcome.ACCEPTED
    assert bits(found) == bits(expected)
    assert float(report.kl) == float(told.kl)
    gain = float(told.gain_actual) * float(unit)
    assert float(report.gain_actual) == pytest.approx(gain, rel=1e-5, abs=1.2e-38)
