import jax
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree
from problems import POLICIES, as_arrays, precision

from klamp.trust_region.line_search import Candidate
from klamp.trust_region.rounding import rounding_of
from klamp.trust_region.surrogate import in_units, surrogate, surrogate_and_kl


def of_rows(problem, rng):
    """θ and a batch of a problem, one of whose rows weighs nothing."""
    theta = problem.theta(rng)
    weight = rng.uniform(0.5, 2, problem.rows).astype(np.float32)
    weight[0] = 0
    return theta, problem.batch(rng, theta, weight)


@pytest.mark.parametrize("problem", POLICIES, ids=lambda problem: problem.head)
def test_gain_and_kl_are_those_of_the_definition(problem):
    """E_w[(r' − r)Â] and E_w[KL(old‖new)], in float64 and by formulas of the tests' own."""
    rng = np.random.default_rng(3)
    theta, batch = of_rows(problem, rng)
    collected = jax.tree.map(
        lambda leaf: leaf + np.float32(0.1) * rng.normal(size=leaf.shape), theta
    )
    old = problem.parameters(collected, batch.inputs)
    with precision("float64") as dtype:
        flat, unravel = ravel_pytree(as_arrays(theta, dtype))
        arrays = as_arrays(batch._replace(old=problem.distribution(old)), dtype)

        def policy(at, inputs):
            return problem.policy(unravel(at), inputs)

        moved = flat + 0.1 * rng.normal(size=flat.shape)
        evaluate = surrogate_and_kl(policy, flat, arrays, rounding_of(policy, flat, arrays))
        found = Candidate(*(float(number) for number in evaluate(moved)))
        value = float(surrogate(policy, moved, arrays))
        theta_moved = jax.tree.map(np.asarray, unravel(moved))

    def mean(values):
        return (batch.weight * values).sum(dtype=np.float64) / batch.weight.sum(dtype=np.float64)

    def ratio(at):
        new = problem.parameters(at, np.asarray(batch.inputs, np.float64))
        log_ratio = problem.log_prob(new, batch.action) - problem.log_prob(old, batch.action)
        return np.exp(log_ratio), new

    start, (after, new) = ratio(theta)[0], ratio(theta_moved)
    np.testing.assert_allclose(found.gain, mean((after - start) * batch.advantage), rtol=1e-8)
    np.testing.assert_allclose(value, mean(after * batch.advantage), rtol=1e-8)
    np.testing.assert_allclose(found.kl, mean(problem.kl(old, new)), rtol=1e-8)
    assert found.kl <= found.kl_ceiling <= found.kl * (1 + 1e-6)


@pytest.mark.parametrize("size", [1e-30, 1.0, 3e8, 1e30])
def test_advantages_in_units_keep_every_digit(size):
    problem = POLICIES[0]
    _, batch = of_rows(problem, np.random.default_rng(0))
    batch = batch._replace(advantage=np.float32(size) * batch.advantage)
    garbage = np.where(batch.weight == 0, np.inf, batch.advantage).astype(np.float32)
    found, unit = jax.jit(in_units)(as_arrays(batch._replace(advantage=garbage)))
    scored = np.asarray(batch.weight) > 0
    largest = np.abs(np.asarray(found.advantage)[scored]).max()
    assert 0.5 <= largest <= 2
    restored = np.asarray(found.advantage, np.float64)[scored] * float(unit)
    np.testing.assert_array_equal(restored, np.asarray(batch.advantage, np.float64)[scored])
