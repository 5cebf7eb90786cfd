from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree
from problems import POLICIES, as_arrays, precision

from klamp import fisher_vector_product, kl_hessian_vector_product

TOLERANCE = {"float32": 1e-5, "float64": 1e-10}
VALID = 11
"""Of the rows; what stands in the others is garbage."""


def explicit_fisher(problem, theta, inputs, weight):
    """F in float64 from its definition, with every Jacobian written out."""
    with precision("float64") as dtype:
        flat, unravel = ravel_pytree(as_arrays(theta, dtype))
        inputs = as_arrays(inputs, dtype)

        def parameters(flat):
            return problem.parameters(unravel(flat), inputs, jnp)

        def log_probabilities(flat):
            return jax.nn.log_softmax(parameters(flat)[0])

        fisher = np.zeros((flat.size, flat.size))
        if problem.head == "categorical":
            # E over actions, exactly: Σ_a π(a|s) ∇log π(a|s) ∇log π(a|s)ᵀ, row by row.
            probabilities = np.exp(np.asarray(log_probabilities(flat)))
            scores = np.asarray(jax.jit(jax.jacrev(log_probabilities))(flat))
            for row, share in enumerate(weight / weight.sum()):
                for action in range(problem.actions):
                    score = scores[row, action]
                    fisher += share * probabilities[row, action] * np.outer(score, score)
            return fisher
        # JᵀMJ with M = diag(1/σ², 2) for (mean, log σ).
        log_std = np.asarray(parameters(flat)[1])
        of_mean, of_log_std = (np.asarray(j) for j in jax.jit(jax.jacrev(parameters))(flat))
        for row, share in enumerate(weight / weight.sum()):
            metric = np.exp(-2 * log_std[row])[:, None]
            fisher += share * of_mean[row].T @ (metric * of_mean[row])
            fisher += share * 2 * of_log_std[row].T @ of_log_std[row]
        return fisher


class Case:
    """One policy, its Fisher matrix by the definition, and the library's at both dtypes."""

    def __init__(self, problem):
        rng = np.random.default_rng(0)
        self.problem = problem
        self.theta = problem.theta(rng)
        self.inputs = rng.normal(size=(problem.rows, problem.observations)).astype(np.float32)
        self.weight = rng.uniform(0.5, 2, problem.rows).astype(np.float32)
        self.weight[VALID:] = 0
        self.expected = explicit_fisher(
            problem, self.theta, self.inputs[:VALID], self.weight[:VALID].astype(np.float64)
        )
        self.dirty = self.inputs.copy()
        self.dirty[VALID:] = np.array([[np.nan], [np.inf], [-np.inf], [1e38], [np.nan]])
        self.size = len(self.expected)
        self.vector = rng.normal(size=self.size)
        self.compiled = {}

    def matrix(self, dtype, inputs, *, damping=0.0, product=fisher_vector_product):
        """The matrix whose columns are the products with the unit vectors."""
        with precision(dtype) as kind:
            arguments = as_arrays((self.theta, inputs, self.weight, damping), kind)
            if (dtype, product) not in self.compiled:
                self.compiled[dtype, product] = self.columns(dtype, product)
            result = np.asarray(self.compiled[dtype, product](*arguments))
            assert result.dtype == kind
            return result

    def columns(self, dtype, product):

        def columns(theta, inputs, weight, damping):
            _, unravel = ravel_pytree(theta)

            def column(unit):
                vector = unravel(unit)
                options = {"weight": weight, "damping": damping}
                out = product(self.problem.policy, theta, inputs, vector, **options)
                assert jax.tree.structure(out) == jax.tree.structure(theta)
                return ravel_pytree(out)[0]

            return jax.vmap(column)(jnp.eye(self.size, dtype=dtype))

        return jax.jit(columns)


case_of = cache(Case)


@pytest.fixture(params=POLICIES, ids=lambda problem: problem.head)
def case(request):
    return case_of(request.param)


@pytest.mark.parametrize("dtype", TOLERANCE)
def test_the_product_is_that_with_the_explicit_matrix_under_weights_and_garbage(case, dtype):
    actual = case.matrix(dtype, case.dirty)
    error = np.linalg.norm(actual - case.expected) / np.linalg.norm(case.expected)
    assert error < TOLERANCE[dtype]
    # The same of one product, whose norm may be much smaller than the matrix's.
    product, exact = actual @ case.vector, case.expected @ case.vector
    assert np.linalg.norm(product - exact) < TOLERANCE[dtype] * np.linalg.norm(exact)


def test_garbage_under_weight_zero_changes_no_bit(case):
    np.testing.assert_array_equal(
        case.matrix("float32", case.inputs), case.matrix("float32", case.dirty)
    )


@pytest.mark.parametrize("dtype", TOLERANCE)
def test_the_product_is_that_with_the_hessian_of_the_kl(case, dtype):
    hessian = case.matrix(dtype, case.dirty, product=kl_hessian_vector_product)
    error = np.linalg.norm(hessian - case.expected) / np.linalg.norm(case.expected)
    assert error < TOLERANCE[dtype]


def test_the_matrix_is_symmetric_and_positive_semidefinite(case):
    fisher = case.matrix("float64", case.dirty)
    np.testing.assert_allclose(fisher, fisher.T, atol=1e-14 * np.abs(fisher).max())
    assert np.linalg.eigvalsh(fisher).min() > -1e-14 * np.abs(fisher).max()
    fisher = case.matrix("float32", case.dirty).astype(np.float64)
    quadratic = [v @ fisher @ v for v in np.random.default_rng(1).normal(size=(200, case.size))]
    assert min(quadratic) > 0


@pytest.mark.parametrize("damping", [0.1, 3.0, -0.5])
def test_damping_adds_its_multiple_of_the_vector_exactly(case, damping):
    # Off the diagonal not a bit changes, on it there is one rounding.
    plain, damped = (case.matrix("float32", case.inputs, damping=d) for d in (0.0, damping))
    np.testing.assert_array_equal(
        damped, plain + np.float32(damping) * np.eye(case.size, dtype="f4")
    )


def test_without_weights_all_rows_weigh_alike():
    case = case_of(POLICIES[1])
    theta, inputs = as_arrays((case.theta, case.inputs))
    _, unravel = ravel_pytree(theta)
    vector = unravel(jnp.asarray(case.vector, jnp.float32))
    plain = jax.jit(partial(fisher_vector_product, case.problem.policy))(theta, inputs, vector)
    ones = np.ones(case.problem.rows)
    expected = explicit_fisher(case.problem, case.theta, case.inputs, ones) @ case.vector
    np.testing.assert_allclose(ravel_pytree(plain)[0], expected, rtol=1e-4, atol=1e-5)


def test_theta_may_be_a_flat_vector():
    case = case_of(POLICIES[1])
    flat, unravel = ravel_pytree(as_arrays(case.theta))
    vector = jnp.asarray(case.vector, jnp.float32)

    def flat_policy(flat, inputs):
        return case.problem.policy(unravel(flat), inputs)

    product = jax.jit(partial(fisher_vector_product, flat_policy))
    actual = product(flat, as_arrays(case.dirty), vector, weight=as_arrays(case.weight))
    assert actual.shape == flat.shape
    np.testing.assert_allclose(actual, case.expected @ case.vector, rtol=1e-4, atol=1e-5)


def test_a_batch_without_any_weight_has_no_curvature():
    case = case_of(POLICIES[1])
    theta = as_arrays(case.theta)
    inputs = jnp.full(case.inputs.shape, jnp.nan)
    product = jax.jit(partial(fisher_vector_product, case.problem.policy))(
        theta, inputs, theta, weight=jnp.zeros(case.problem.rows), damping=2.0
    )
    for actual, vector in zip(jax.tree.leaves(product), jax.tree.leaves(theta), strict=True):
        np.testing.assert_array_equal(actual, 2 * vector)
