"""Conjugate gradient and Fisher-vector products beside linear algebra in float64."""

from typing import Any

import numpy as np
import problems
from case import Case, Promise, agree, must

KINDS = ("definite", "wide", "indefinite", "negative", "singular", "zero", "not finite")


def draw_matrix(case: Case, kind: str) -> np.ndarray:
    """A symmetric matrix with eigenvalues of a known kind."""
    rng, n = case.rng, int(case.rng.integers(1, 12))
    values = rng.uniform(1, 10, n)
    match kind:
        case "wide":
            values = 10 ** rng.uniform(-6, 2, n)
        case "indefinite":
            values[: (n + 1) // 2] *= -1
        case "negative":
            values *= -1
        case "singular":
            values[: max(n // 2, 1)] = 0
    turn, _ = np.linalg.qr(rng.normal(size=(n, n)))
    return ((turn * values) @ turn.T).astype(np.float32)


def judge(case: Case) -> str:
    """Some systems, and one Fisher matrix."""
    klamp = case.facade("conjugate_gradient", "CGStatus", "fisher_vector_product")
    for _ in range(6):
        solved(case, klamp, case.choose(KINDS))
    kind = case.choose(problems.KINDS)
    fisher_agrees(case, klamp, kind)
    return f"6 systems, {kind}"


def solved(case: Case, klamp: Any, kind: str) -> None:
    """One system: what is told of the solution is true of it."""
    matrix = draw_matrix(case, kind)
    exact, n = matrix.astype(np.float64), len(matrix)
    b = case.rng.normal(size=n).astype(np.float32) * np.float32(10 ** case.rng.uniform(-4, 4))
    if kind == "zero":
        b *= 0
    if kind == "not finite":
        b[0] = case.choose([np.nan, np.inf])
    limit, tolerance = int(case.rng.integers(1, 3 * n + 2)), 10 ** case.rng.uniform(-10, -2)
    found = klamp.conjugate_gradient(
        lambda v: matrix @ v, b, max_iterations=limit, tolerance=tolerance
    )
    status = klamp.CGStatus(int(found.status)).name
    what = f"conjugate_gradient, {kind} n={n}, at most {limit}: {status}"
    x = np.asarray(found.solution, np.float64)
    must(np.all(np.isfinite(x)), f"{what}: the solution is not finite")
    must(int(found.iterations) <= limit, f"{what}: {found.iterations} iterations")
    if kind == "not finite":
        must(status == "NON_FINITE" and not x.any(), f"{what}: expected NON_FINITE and zeros")
        return
    size = float(np.linalg.norm(b))
    residual = float(np.linalg.norm(b - exact @ x))
    rounding = 1e-5 * (size + np.linalg.norm(exact, 2) * np.linalg.norm(x))
    agree(f"{what}: residual_norm", found.residual_norm, residual, rtol=1e-2, atol=rounding)
    eigenvalues = np.linalg.eigvalsh(exact)
    if status == "NONPOSITIVE_CURVATURE":
        flat = eigenvalues[0] <= 1e-5 * np.max(np.abs(eigenvalues))
        must(flat, f"{what}: the smallest eigenvalue is {eigenvalues[0]:g}")
    must(status != "NON_FINITE", f"{what}: nothing is infinite or NaN")
    if status == "CONVERGED":
        allowed = tolerance * max(size, 1.0) + rounding
        must(residual <= allowed, f"{what}: the residual is {residual:g}, tolerance {tolerance:g}")
    if kind in ("definite", "zero"):
        must(status in ("CONVERGED", "MAX_ITERATIONS"), what)
        if limit >= n:
            solution = np.linalg.solve(exact, b.astype(np.float64))
            near = 1e-3 * np.linalg.norm(solution)
            must(
                np.linalg.norm(x - solution) <= near or status == "CONVERGED",
                f"{what}: far from the solution after {int(found.iterations)} iterations",
            )
    if kind == "negative":
        must(status == "NONPOSITIVE_CURVATURE", f"{what}: every direction has negative curvature")


def fisher_agrees(case: Case, klamp: Any, kind: str) -> None:
    """(F + λI)v beside the matrix itself, with rows of weight 0 that hold garbage."""
    rng = case.rng
    shape = problems.Shape(kind, 3, 4)
    theta = problems.draw_theta(case, shape, hard=False)
    seen = rng.normal(size=(20, 3)).astype(np.float32)
    weight = np.where(rng.random(20) < 0.4, 0, rng.uniform(0.5, 2, 20)).astype(np.float32)
    weight[0] = 1
    damping = float(case.choose([0, 0.1, rng.uniform(0, 1)]))
    vector = rng.normal(size=len(theta)).astype(np.float32)
    kept = weight > 0
    exact = theta.astype(np.float64)
    matrix = problems.fisher(shape, exact, seen[kept].astype(np.float64), weight[kept])
    expected = (matrix + damping * np.eye(len(theta))) @ vector.astype(np.float64)
    garbage = seen.copy()
    garbage[~kept] = case.choose([np.nan, np.inf, -1e30, 0])
    told = klamp.fisher_vector_product(
        shape.policy, theta, garbage, vector, weight=weight, damping=damping
    )
    size = np.linalg.norm(matrix, 2) * np.linalg.norm(vector)
    agree(f"fisher_vector_product, {kind}", told, expected, rtol=1e-3, atol=1e-4 * size + 1e-5)


def _optimist(names: Any) -> None:
    """Everything has converged."""
    true = names.conjugate_gradient
    names.conjugate_gradient = lambda *a, **b: true(*a, **b)._replace(status=0)


def _recurrence(names: Any) -> None:
    """A residual a hundredth of the true one."""
    true = names.conjugate_gradient

    def broken(*given: Any, **more: Any) -> Any:
        found = true(*given, **more)
        return found._replace(residual_norm=found.residual_norm / 100)

    names.conjugate_gradient = broken


def _undamped(names: Any) -> None:
    """Damping forgotten."""
    true = names.fisher_vector_product
    names.fisher_vector_product = lambda *a, **b: true(*a, **(b | {"damping": 0.0}))


def _all_rows(names: Any) -> None:
    """Rows of weight 0 weigh as all others."""
    true = names.fisher_vector_product
    names.fisher_vector_product = lambda *a, **b: true(*a, **(b | {"weight": None}))


PROMISE = Promise(
    name="solvers",
    says="conjugate_gradient tells its true residual and a true status; fisher_vector_product is "
    "(JᵀMJ + λI)v, and rows of weight 0 do not exist",
    judge=judge,
    plants={
        "always CONVERGED": _optimist,
        "residual of the recurrence": _recurrence,
        "damping forgotten": _undamped,
        "weights ignored": _all_rows,
    },
)
