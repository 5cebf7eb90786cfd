from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from problems import SIZE, linear_systems, precision, spectrum_system

from klamp import CGStatus, conjugate_gradient

SYSTEMS = {system.name: system for system in linear_systems()}
DTYPES = ["float32", "float64"]
UNUSABLE = {"NaN in the matrix", "all NaN", "infinite matrix", "NaN in b", "infinity in b"}


@partial(jax.jit, static_argnames=("max_iterations", "tolerance"))
def solve_batch(matrices, b, max_iterations=3 * SIZE, tolerance=1e-10):
    def solve(matrix, b):
        return conjugate_gradient(
            lambda v: matrix @ v, b, max_iterations=max_iterations, tolerance=tolerance
        )

    return jax.vmap(solve)(matrices, b)


def solve_all(dtype, systems, **options):
    """All systems in one compiled, batched call.

    Few are filled up with the first to as many as the table has, which one program then serves.
    """
    count = len(systems)
    systems = [*systems, *[systems[0]] * (len(SYSTEMS) - count)]
    with precision(dtype) as kind:
        matrices = np.stack([s.matrix for s in systems]).astype(kind)
        b = np.stack([s.b for s in systems]).astype(kind)
        results = jax.device_get(solve_batch(matrices, b, **options))
    return jax.tree.map(lambda leaf: leaf[:count], results)


def row(results, index):
    return type(results)(*(leaf[index] for leaf in results))


@pytest.fixture(scope="module", params=DTYPES)
def solved(request):
    """Every system of the table, its result and the precision it was solved in."""
    results = solve_all(request.param, list(SYSTEMS.values()))
    by_name = {name: row(results, i) for i, name in enumerate(SYSTEMS)}
    return by_name, np.dtype(request.param)


def check(system, result, dtype, tolerance=1e-10):
    """No NaN in the solution, and never a false CONVERGED; the residual is the true one."""
    epsilon = np.finfo(dtype).eps
    status = CGStatus(int(result.status))
    assert np.all(np.isfinite(result.solution))
    assert 0 <= result.iterations <= 3 * SIZE
    matrix, b = (np.asarray(x, dtype).astype(np.float64) for x in (system.matrix, system.b))
    if not (np.all(np.isfinite(matrix)) and np.all(np.isfinite(b))):
        assert status is CGStatus.NON_FINITE
    if status is CGStatus.NON_FINITE:
        assert np.all(result.solution == 0)
        assert result.residual_norm == np.inf
        return
    x = result.solution.astype(np.float64)
    residual = np.linalg.norm(b - matrix @ x)
    rounding = (
        10 * SIZE * epsilon * (np.linalg.norm(np.abs(matrix) @ np.abs(x)) + np.linalg.norm(b))
    )
    assert abs(result.residual_norm - residual) <= rounding
    if status is CGStatus.CONVERGED:
        assert residual <= tolerance * np.linalg.norm(b) + rounding
        # Rounding is no excuse for having solved nothing.
        assert residual <= 1e-4 * np.linalg.norm(b)
    if status is CGStatus.NONPOSITIVE_CURVATURE:
        smallest = np.linalg.eigvalsh(matrix).min()
        assert smallest <= 10 * SIZE * epsilon * np.abs(matrix).max()


@pytest.mark.parametrize("name", SYSTEMS)
def test_no_nan_and_never_a_false_success(solved, name):
    results, dtype = solved
    check(SYSTEMS[name], results[name], dtype)


@pytest.mark.parametrize(
    ("name", "statuses"),
    [
        ("zero b", {CGStatus.CONVERGED}),
        ("zero matrix and b", {CGStatus.CONVERGED}),
        ("identity", {CGStatus.CONVERGED}),
        ("zero matrix", {CGStatus.NONPOSITIVE_CURVATURE}),
        ("negative definite", {CGStatus.NONPOSITIVE_CURVATURE}),
        ("negative identity", {CGStatus.NONPOSITIVE_CURVATURE}),
        ("indefinite", {CGStatus.NONPOSITIVE_CURVATURE, CGStatus.MAX_ITERATIONS}),
        ("rank one, b not in range", {CGStatus.NONPOSITIVE_CURVATURE, CGStatus.MAX_ITERATIONS}),
        ("singular, b not in range", {CGStatus.NONPOSITIVE_CURVATURE, CGStatus.MAX_ITERATIONS}),
        *((name, {CGStatus.NON_FINITE}) for name in sorted(UNUSABLE)),
    ],
)
def test_the_status_names_the_reason(solved, name, statuses):
    results, _ = solved
    assert CGStatus(int(results[name].status)) in statuses


@pytest.mark.parametrize(
    "name", ["zero b", "zero matrix", "zero matrix and b", "negative definite", *sorted(UNUSABLE)]
)
def test_where_nothing_can_be_solved_the_solution_is_zero(solved, name):
    results, _ = solved
    assert np.all(results[name].solution == 0)


def test_well_conditioned_systems_agree_with_a_direct_solver(solved):
    results, dtype = solved
    tolerance = {"float32": 1e-5, "float64": 1e-10}[dtype.name]
    names = ["identity", "condition 1e0", "condition 1e1", "poisson"]
    names += ["condition 1e2", "condition 1e3"] * (dtype == np.float64)
    for name in names:
        system = SYSTEMS[name]
        matrix, b = (np.asarray(x, dtype).astype(np.float64) for x in (system.matrix, system.b))
        expected = np.linalg.solve(matrix, b)
        error = np.linalg.norm(results[name].solution - expected) / np.linalg.norm(expected)
        # The poisson matrix of this size has a condition number of 68.
        assert error < tolerance * (10 if name == "poisson" else 1), name


def test_consistent_singular_systems_are_solved_and_stay_solved(solved):
    # Rank 6 and rank 1: solved after that many iterations, of the 36 that are allowed. In float32
    # no residual reaches the tolerance, and going on would lead into the null space.
    results, dtype = solved
    tolerance = {"float32": 1e-5, "float64": 1e-9}[dtype.name]
    for name in ("singular, b in range", "rank one, b in range"):
        system = SYSTEMS[name]
        residual = np.linalg.norm(system.b - system.matrix @ results[name].solution)
        assert residual < tolerance * np.linalg.norm(system.b), name


@pytest.mark.parametrize("dtype", DTYPES)
def test_random_systems_of_every_kind(dtype):
    rng = np.random.default_rng(0)
    systems = []
    for i in range(500):
        eigenvalues = 10 ** rng.uniform(-rng.uniform(0, 12), 0, SIZE)
        kind = rng.integers(5)
        if kind == 1:
            eigenvalues[: rng.integers(1, SIZE)] = 0
        if kind == 2:
            eigenvalues *= rng.choice([-1, 1], SIZE)
        system = spectrum_system("random", eigenvalues, i, in_range=bool(rng.integers(2)))
        # float32 squares of 1e±25 are 0 and ∞: neither may pass for a solution.
        scale = 10 ** rng.uniform(-25, 25) if kind == 3 else 1.0
        systems.append(system._replace(b=system.b * scale))
    results = solve_all(dtype, systems)
    for i, system in enumerate(systems):
        check(system, row(results, i), np.dtype(dtype))
    # Not vacuous: all outcomes that finite systems have occur, success on a good share.
    share = np.bincount(results.status, minlength=4)[:3] / len(systems)
    assert np.all(share[[1, 2]] > 0.02)
    if dtype == "float64":
        assert share[0] > 0.1


def test_the_solution_scales_with_b_exactly():
    system = SYSTEMS["condition 1e1"]
    units = [2.0**exponent for exponent in (0, -100, -70, -40, 30, 60, 100, 120)]
    b = system.b.astype(np.float32)
    results = solve_all("float32", [system._replace(b=unit * b) for unit in units])
    for i, unit in enumerate(units):
        np.testing.assert_array_equal(results.solution[i], results.solution[0] * np.float32(unit))
    assert len(set(results.status)) == len(set(results.iterations)) == 1


def test_as_many_iterations_as_distinct_eigenvalues():
    spectra = [np.ones(SIZE), np.repeat([1.0, 2.0], 6), np.repeat([1.0, 2.0, 5.0], 4)]
    systems = [spectrum_system("", spectrum, i) for i, spectrum in enumerate(spectra)]
    results = solve_all("float64", systems)
    np.testing.assert_array_equal(results.iterations, [1, 2, 3])
    np.testing.assert_array_equal(results.status, CGStatus.CONVERGED)


def test_the_iteration_limit_is_kept_and_the_solution_is_the_best_of_its_krylov_space():
    system = SYSTEMS["condition 1e4"]
    results = solve_all("float64", [system], max_iterations=3)
    assert results.iterations[0] == 3
    assert results.status[0] == CGStatus.MAX_ITERATIONS
    krylov = np.stack([np.linalg.matrix_power(system.matrix, k) @ system.b for k in range(3)], 1)
    basis = np.linalg.qr(krylov)[0]
    best = basis @ np.linalg.solve(basis.T @ system.matrix @ basis, basis.T @ system.b)
    np.testing.assert_allclose(results.solution[0], best, rtol=1e-6, atol=1e-9)


def test_the_tolerance_stops_early():
    system = SYSTEMS["condition 1e2"]
    loose, tight = (solve_all("float64", [system], tolerance=t) for t in (1e-2, 1e-10))
    assert loose.iterations[0] < tight.iterations[0]
    assert loose.status[0] == tight.status[0] == CGStatus.CONVERGED
    assert 1e-10 < loose.residual_norm[0] / np.linalg.norm(system.b) <= 1e-2


def test_before_a_direction_of_negative_curvature_the_solution_is_kept():
    # b lies along an eigenvector of eigenvalue 2 but for a trace of one of eigenvalue −1.
    matrix = np.diag(np.r_[2.0, -1.0, np.ones(SIZE - 2)])
    b = np.zeros(SIZE)
    b[:2] = 1.0, 1e-3
    system = SYSTEMS["identity"]._replace(matrix=matrix, b=b)
    result = row(solve_all("float64", [system]), 0)
    assert result.status == CGStatus.NONPOSITIVE_CURVATURE
    assert result.solution[0] == pytest.approx(0.5, rel=1e-4)
    assert result.residual_norm == pytest.approx(np.linalg.norm(b - matrix @ result.solution))


def test_b_may_be_any_pytree():
    matrix = jnp.asarray(SYSTEMS["poisson"].matrix[:5, :5], jnp.float32)
    b = {"a": jnp.array([1.0, 2.0]), "b": (jnp.array([[3.0], [4.0]]), jnp.array(5.0))}

    def flatten(tree):
        return jnp.concatenate([leaf.ravel() for leaf in jax.tree.leaves(tree)])

    def product(tree):
        out = matrix @ flatten(tree)
        return {"a": out[:2], "b": (out[2:4].reshape(2, 1), out[4])}

    result = jax.jit(lambda b: conjugate_gradient(product, b, max_iterations=15))(b)
    assert jax.tree.map(jnp.shape, result.solution) == jax.tree.map(jnp.shape, b)
    expected = np.linalg.solve(np.asarray(matrix, np.float64), np.arange(1, 6))
    np.testing.assert_allclose(flatten(result.solution), expected, rtol=1e-5)


def test_a_system_gives_the_same_alone_as_in_a_batch():
    # In a batch the others go on iterating after this one has stopped.
    hard, easy = SYSTEMS["condition 1e6"], SYSTEMS["identity"]
    together = row(solve_all("float32", [hard, easy]), 1)
    alone = row(solve_all("float32", [easy, easy]), 0)
    for a, b in zip(together, alone, strict=True):
        np.testing.assert_array_equal(a, b)


def test_the_residual_is_the_true_one_where_the_recurrence_has_lost_it():
    # Products rounded to 8 bits: the recurrence converges all the same, the solution does not.
    matrix = jnp.asarray(SYSTEMS["condition 1e2"].matrix, jnp.float32)
    b = jnp.asarray(SYSTEMS["condition 1e2"].b, jnp.float32)

    @jax.jit
    def product(v):
        return (matrix @ v).astype(jnp.bfloat16).astype(jnp.float32)

    result = conjugate_gradient(product, b, max_iterations=200, tolerance=1e-5)
    true = np.linalg.norm(b - product(result.solution))
    assert result.iterations < 200
    assert true > 1e-3 * np.linalg.norm(b)
    assert result.residual_norm == pytest.approx(true, rel=1e-3)
    assert result.status != CGStatus.CONVERGED
