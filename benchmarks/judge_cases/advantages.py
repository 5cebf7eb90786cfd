"""Advantages and returns beside loops in float64."""

from typing import Any

import numpy as np
import references as ref
from case import Case, Promise, agree


def draw(case: Case) -> dict[str, Any]:
    """A stretch of experience with ends of every kind."""
    rng = case.rng
    shape = (int(rng.integers(1, 40)), *(int(n) for n in rng.integers(1, 4, rng.integers(0, 3))))
    size = 10 ** rng.uniform(-3, 3)
    found = {name: size * rng.normal(size=shape) for name in ("reward", "value", "next_value")}
    ends = rng.choice([0.0, 0.05, 0.5, 1.0])
    found |= {name: rng.random(shape) < ends for name in ("terminated", "truncated")}
    return {k: v.astype(np.float32) if v.dtype.kind == "f" else v for k, v in found.items()}


def judge(case: Case) -> str:
    """Several stretches: gae, discounted_returns, standardize."""
    klamp = case.facade("gae", "discounted_returns", "standardize")
    rng = case.rng
    for _ in range(5):
        given = draw(case)
        discount, decay = (float(case.choose([0, 1, rng.uniform(0, 1), 0.99])) for _ in range(2))
        exact = {k: v.astype(np.float64) if v.dtype.kind == "f" else v for k, v in given.items()}
        r, v, after, term, trunc = exact.values()
        size = float(np.max(np.abs((r, v, after)))) * len(r)
        advantage = klamp.gae(*given.values(), discount=discount, trace_decay=decay)
        expected = ref.gae(r, v, after, term, trunc, discount, decay)
        agree("gae", advantage, expected, rtol=1e-5, atol=2e-6 * size)
        told = klamp.discounted_returns(
            given["reward"], given["next_value"], term, trunc, discount=discount
        )
        expected = ref.returns(r, after, term, trunc, discount)
        agree("discounted_returns", told, expected, rtol=1e-5, atol=2e-6 * size)
        standardized(case, klamp, expected.ravel())
    return "5 stretches"


def standardized(case: Case, klamp: Any, values: np.ndarray) -> None:
    """(A − mean)/deviation under weights, whatever lies under a weight of 0."""
    rng = case.rng
    values = (values + rng.normal(size=values.shape)).astype(np.float32)
    if len(values) < 4:
        return
    weight = np.where(rng.random(values.shape) < 0.3, 0, rng.uniform(0.5, 2, values.shape))
    weight[:2] = 1
    weight = weight.astype(np.float32)
    kept = weight > 0
    mean = ref.weighted(values.astype(np.float64), weight)
    spread = np.sqrt(ref.weighted((values.astype(np.float64) - mean) ** 2, weight))
    expected = np.where(kept, (values.astype(np.float64) - mean) / spread, 0)
    garbage = values.copy()
    garbage[~kept] = case.choose([np.nan, np.inf, 1e30, 0])
    size = np.max(np.abs(values[kept])) / spread
    told = klamp.standardize(garbage, weight)
    agree("standardize", told, expected, rtol=1e-4, atol=1e-5 * size)


def _phantom(names: Any) -> None:
    """A time limit taken for a terminal state."""
    true = names.gae
    names.gae = lambda r, v, n, term, trunc, **more: true(r, v, n, term | trunc, trunc, **more)


def _leak(names: Any) -> None:
    """Advantages that leak from one episode into the one before."""
    true = names.gae
    names.gae = lambda r, v, n, term, trunc, **more: true(r, v, n, term, trunc & False, **more)


def _late(names: Any) -> None:
    """Returns that go on after a termination."""
    true = names.discounted_returns
    names.discounted_returns = lambda r, n, term, trunc, **more: true(
        r, n, term & False, trunc, **more
    )


def _unmasked(names: Any) -> None:
    """Standardised over all rows."""
    true = names.standardize
    names.standardize = lambda x, _: true(x)


PROMISE = Promise(
    name="advantages",
    says="gae, discounted_returns and standardize are their definitions; a time limit is "
    "bootstrapped, a terminal state never",
    judge=judge,
    plants={
        "truncation taken for termination": _phantom,
        "advantages leak over a time limit": _leak,
        "returns go on after termination": _late,
        "rows of weight 0 are standardised with": _unmasked,
    },
)
