"""``trust_region_step`` on random problems, judged with networks and distributions in float64."""

from dataclasses import dataclass
from functools import partial
from typing import Any

import broken_steps
import numpy as np
import problems
import references as ref
from case import Case, Promise, agree, must

ROWS, PROBLEMS = 32, 30
KINDS_OF_TROUBLE = ("none",) * 8 + ("NaN", "zero")


@dataclass(frozen=True)
class Problem:
    """A policy, a batch and the settings of a step."""

    shape: problems.Shape
    theta: np.ndarray
    seen: np.ndarray
    action: Any
    advantage: np.ndarray
    weight: np.ndarray | None
    max_kl: float
    damping: float
    trouble: str
    ordinary: bool

    @property
    def weights(self) -> np.ndarray:
        """The weights in float64, ones where none were given."""
        return np.ones(ROWS) if self.weight is None else self.weight.astype(np.float64)

    def parameters(self, theta: Any) -> ref.Parameters:
        """The policy at θ, in float64, on what was seen."""
        return self.shape.parameters(theta.astype(np.float64), self.seen.astype(np.float64), np)

    def kl(self, theta: Any) -> float:
        """The true mean KL(old‖new)."""
        rows = ref.kl(self.shape.kind, self.parameters(self.theta), self.parameters(theta))
        return ref.weighted(rows, self.weights)

    def surrogate(self, theta: Any) -> float:
        """E[r·Â]."""
        kind, action = self.shape.kind, _double(self.action)
        new, old = (ref.log_prob(kind, self.parameters(t), action) for t in (theta, self.theta))
        with np.errstate(over="ignore"):
            return ref.weighted(np.exp(new - old) * self.advantage.astype(np.float64), self.weights)

    def gradient(self) -> np.ndarray:
        """∇E[r·Â] at the old policy."""
        kept = self.weights > 0
        scores = self.weights * self.advantage / np.sum(self.weights[kept])
        action, theta = _double(self.action), self.theta.astype(np.float64)
        seen = self.seen.astype(np.float64)
        return problems.gradient(self.shape, theta, seen, action, np.where(kept, scores, 0))

    def fisher(self) -> np.ndarray:
        """F in float64."""
        exact = self.theta.astype(np.float64), self.seen.astype(np.float64)
        return problems.fisher(self.shape, *exact, self.weights)


def _double(action: Any) -> Any:
    if isinstance(action, tuple):
        return tuple(_double(part) for part in action)
    return action.astype(np.float64) if action.dtype.kind == "f" else action


def draw(case: Case, shape: problems.Shape, weighted: bool) -> Problem:
    """An ordinary problem, or a hard one, or one with something wrong in it."""
    rng, hard = case.rng, case.chance(0.5)
    theta = problems.draw_theta(case, shape, hard=hard)
    seen = rng.normal(size=(ROWS, shape.seen)).astype(np.float32)
    p = shape.parameters(theta.astype(np.float64), seen.astype(np.float64), np)
    trouble = case.choose(KINDS_OF_TROUBLE)
    advantage = rng.normal(size=ROWS)
    if trouble == "zero":
        advantage *= 0
    weight = None
    if weighted:
        weight = np.where(rng.random(ROWS) < 0.4, 0, rng.uniform(0.5, 2, ROWS)).astype(np.float32)
        weight[:2] = 1
    max_kl = 10 ** (rng.uniform(-8, 1) if hard else rng.uniform(-4, -1))
    extreme = "mean" in p and (
        np.min(p["log_std"]) < -3 or np.max(np.abs(p["mean"]) * np.exp(-p["log_std"])) > 30
    )
    return Problem(
        shape=shape,
        theta=theta,
        seen=seen,
        action=problems.draw_actions(case, shape.kind, p),
        advantage=advantage.astype(np.float32),
        weight=weight,
        max_kl=float(np.float32(max_kl)),
        damping=float(np.float32(case.choose([0.1, 0.01, rng.uniform(0, 1)]))),
        trouble=trouble,
        ordinary=not hard and not extreme,
    )


def judge(case: Case) -> str:
    """Thirty problems of one kind of policy, with one compiled step."""
    import jax

    klamp = case.facade("trust_region_step", "Batch", "Outcome")
    kind = case.choose(problems.KINDS)
    shape = problems.Shape(kind, int(case.rng.integers(1, 4)), int(case.rng.integers(2, 5)))
    weighted = case.chance(0.5)

    @jax.jit
    def step(theta: Any, batch: Any, max_kl: Any, damping: Any) -> Any:
        return klamp.trust_region_step(shape.policy, theta, batch, max_kl=max_kl, damping=damping)

    outcomes: dict[str, int] = {}
    for number in range(PROBLEMS):
        problem = draw(case, shape, weighted)
        taken = take(case, klamp, step, problem)
        name = klamp.Outcome(int(taken[1].outcome)).name
        outcomes[name] = outcomes.get(name, 0) + 1
        what = (
            f"{kind}, problem {number}, δ={problem.max_kl:.3g}, {'hard' * (not problem.ordinary)} "
            f"advantages: {problem.trouble}, weights of 0: {weighted}: {name}"
        )
        judged(problem, name, *taken, what)
    return f"{kind}, " + ", ".join(f"{count} {name}" for name, count in outcomes.items())


def take(case: Case, klamp: Any, step: Any, problem: Problem) -> tuple[np.ndarray, Any]:
    """Take the step; where rows weigh nothing, garbage in them must change no bit of it."""
    old = problem.shape.policy(problem.theta, problem.seen)
    advantage = problem.advantage.copy()
    if problem.trouble == "NaN":
        row = 0 if problem.weight is None else int(np.argmax(problem.weight))
        advantage[row] = case.choose([np.nan, np.inf])
    seen, batch = problem.seen, partial(klamp.Batch, action=problem.action, old=old)
    settings = np.float32(problem.max_kl), np.float32(problem.damping)
    clean = batch(inputs=seen, advantage=advantage, weight=problem.weight)
    theta, report = step(problem.theta, clean, *settings)
    if problem.weight is not None:
        empty, bad = problem.weight == 0, case.choose([np.nan, np.inf, -1e30])
        spoilt = np.where(empty[:, None], bad, seen), np.where(empty, bad, advantage)
        dirty = batch(
            inputs=spoilt[0].astype(np.float32),
            advantage=spoilt[1].astype(np.float32),
            weight=problem.weight,
        )
        dirty = dirty._replace(
            action=_spoil(problem.action, empty, bad), old=_spoil_tree(old, empty, bad)
        )
        again, told = step(problem.theta, dirty, *settings)
        same = np.array_equal(np.asarray(theta), np.asarray(again), equal_nan=True)
        must(
            same and int(told.outcome) == int(report.outcome),
            f"{problem.shape.kind}: {bad} in rows of weight 0 changes the step: outcome "
            f"{klamp.Outcome(int(report.outcome)).name} without, "
            f"{klamp.Outcome(int(told.outcome)).name} with it",
        )
    return np.asarray(theta), report


def _spoil(action: Any, empty: Any, bad: float) -> Any:
    """Actions with garbage in some rows, as far as their type can hold it."""
    if isinstance(action, tuple):
        return tuple(_spoil(part, empty, bad) for part in action)
    spoilt = action.copy()
    spoilt[empty] = bad if action.dtype.kind == "f" else 0
    return spoilt


def _spoil_tree(tree: Any, empty: Any, bad: float) -> Any:
    import jax

    return jax.tree.map(lambda leaf: _spoil(np.asarray(leaf), empty, bad), tree)


def judged(problem: Problem, name: str, theta: np.ndarray, report: Any, what: str) -> None:
    """Everything that is said of one step."""
    if problem.trouble == "NaN":
        must(name == "NON_FINITE", f"{what}: a scored advantage is not finite")
    if name != "ACCEPTED":
        unchanged = theta.tobytes() == problem.theta.tobytes()
        must(unchanged, f"{what}: refused, but θ is not bit for bit as it was")
        reason_is_true(problem, name, report, what)
        return
    must(np.all(np.isfinite(theta)), f"{what}: θ is not finite")
    must(problem.trouble != "zero", f"{what}: all advantages are zero")
    true = problem.kl(theta)
    over = true / problem.max_kl
    must(over <= 1, f"{what}: the true KL is {true:.9g}, {over:.6f} of δ (told {report.kl:.9g})")
    if problem.ordinary:
        numbers_are_true(problem, theta, report, what)


def numbers_are_true(problem: Problem, theta: np.ndarray, report: Any, what: str) -> None:
    """The report of an accepted step."""
    true, unit = problem.kl(theta), float(np.max(np.abs(problem.advantage)))
    agree(f"{what}: kl", report.kl, true, rtol=5e-3, atol=2e-7)
    before, after = problem.surrogate(problem.theta), problem.surrogate(theta)
    agree(f"{what}: surrogate_before", report.surrogate_before, before, rtol=1e-4, atol=1e-5 * unit)
    agree(f"{what}: surrogate_after", report.surrogate_after, after, rtol=1e-3, atol=1e-4 * unit)
    gain = after - before
    agree(f"{what}: gain_actual", report.gain_actual, gain, rtol=1e-2, atol=1e-5 * unit)
    must(gain > -1e-6 * unit, f"{what}: the surrogate fell by {-gain:g}")
    step = theta.astype(np.float64) - problem.theta
    gradient, fisher = problem.gradient(), problem.fisher()
    norm = float(np.linalg.norm(gradient))
    agree(f"{what}: gradient_norm", report.gradient_norm, norm, rtol=1e-3, atol=1e-5 * unit)
    lost = 1e-6 * norm * float(np.linalg.norm(problem.theta))
    agree(f"{what}: gain_predicted", report.gain_predicted, gradient @ step, rtol=1e-2, atol=lost)
    predicted = 0.5 * step @ fisher @ step
    agree(f"{what}: kl_predicted", report.kl_predicted, predicted, rtol=2e-2, atol=1e-6)
    damped = predicted + 0.5 * problem.damping * step @ step
    shrunk = 0.8 ** int(report.backtracks)
    allowed = problem.max_kl * shrunk**2
    agree(f"{what}: length of the step", damped, allowed, rtol=2e-2, atol=1e-6)


def reason_is_true(problem: Problem, name: str, report: Any, what: str) -> None:
    """Why a step was refused."""
    gradient = problem.gradient() if problem.trouble != "NaN" else np.array([np.nan])
    unit = float(np.max(np.abs(problem.advantage[problem.weights > 0])))
    norm = float(np.linalg.norm(gradient))
    if problem.trouble == "zero":
        must(name == "ZERO_GRADIENT", f"{what}: all advantages are zero")
    if name == "ZERO_GRADIENT" and unit:
        must(norm <= 1e-5 * unit, f"{what}: ‖g‖ is {norm:.3g} where |Â| ≤ {unit:.3g}")
    if name == "NON_FINITE" and problem.ordinary:
        must(problem.trouble == "NaN", f"{what}: nothing is infinite or NaN")
    if name == "NONPOSITIVE_CURVATURE" and problem.ordinary:
        must(problem.damping < 1e-3, f"{what}: F + {problem.damping:g}·I is positive definite")
    if name == "LINE_SEARCH_EXHAUSTED" and problem.ordinary:
        damped = problem.fisher() + problem.damping * np.eye(len(gradient))
        x = krylov(damped, gradient, int(report.cg_iterations))
        full = np.sqrt(2 * problem.max_kl / (x @ damped @ x)) * x
        start = problem.surrogate(problem.theta)
        for count in range(11):
            theta = problem.theta + 0.8**count * full
            gain, moved = problem.surrogate(theta) - start, problem.kl(theta)
            good = moved <= 0.98 * problem.max_kl and gain > 1e-4 * unit
            must(not good, f"{what}: after {count} reductions KL={moved:.3g} and gain={gain:.3g}")


def krylov(matrix: Any, b: Any, iterations: int) -> Any:
    """Conjugate gradient as in any book, in float64."""
    x, r = np.zeros_like(b), b.copy()
    p = r.copy()
    for _ in range(iterations):
        along = matrix @ p
        rate = (r @ r) / (p @ along)
        x, left = x + rate * p, r - rate * along
        p, r = left + (left @ left) / (r @ r) * p, left
    return x


PROMISE = Promise(
    name="trust-region",
    says="an accepted step has a true KL of at most δ; a refused one leaves θ bit for bit and "
    "says why; garbage under weight 0 changes nothing; the report is true",
    judge=judge,
    plants=broken_steps.PLANTS,
    share=3,
)
