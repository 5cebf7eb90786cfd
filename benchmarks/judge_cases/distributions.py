"""Distributions: log-probability, entropy and KL by their definitions, samples by their law."""

from typing import Any

import numpy as np
import problems
import references as ref
from case import Case, Promise, agree, must

ROWS = 12


def parameters(case: Case, kind: str) -> ref.Parameters:
    """Random parameters, from a policy's."""
    shape = problems.Shape(kind, 3, 4)
    theta = problems.draw_theta(case, shape, hard=False).astype(np.float64)
    found = shape.parameters(theta, case.rng.normal(size=(ROWS, 3)), np)
    if kind == "beta" and case.chance(0.3):
        grown = 10 ** case.rng.uniform(0, 3)
        found |= {"alpha": found["alpha"] * grown, "beta": found["beta"] * grown}
    single = {k: v.astype(np.float32).astype(np.float64) for k, v in found.items() if _free(k)}
    return found | single


def _free(name: str) -> bool:
    return name in ("logits", "mean", "log_std", "alpha", "beta")


def near(case: Case, p: ref.Parameters) -> ref.Parameters:
    """Another policy, near or far."""
    step = 10 ** case.rng.uniform(-4, -0.5)
    moved = {k: v + step * case.rng.normal(size=v.shape) for k, v in p.items() if _free(k)}
    for name in ("alpha", "beta"):
        if name in p:
            moved[name] = p[name] * np.exp(step * case.rng.normal(size=p[name].shape))
    return p | {k: v.astype(np.float32).astype(np.float64) for k, v in moved.items()}


def made(kind: str, p: ref.Parameters) -> Any:
    """The package's distribution, in float32."""
    return problems.distribution(
        kind, {k: np.asarray(v, np.float32) if _free(k) else v for k, v in p.items()}
    )


def judge(case: Case) -> str:
    """One kind, parameters drawn anew some times."""
    import jax

    kl_divergence = case.facade("kl_divergence").kl_divergence
    kind = case.choose(problems.KINDS)
    for _ in range(4):
        p = parameters(case, kind)
        q = near(case, p)
        ours, theirs = made(kind, p), made(kind, q)
        action = problems.draw_actions(case, kind, p)
        exact = _as_double(action)
        expected = ref.log_prob(kind, p, exact)
        agree(f"{kind}: log_prob", ours.log_prob(action), expected, rtol=3e-4, atol=3e-4)
        # The entropy of a squashed Gaussian is a quadrature of 33 points by the documentation.
        loose = 2e-2 if kind == "squashed" else 2e-3
        agree(f"{kind}: entropy", ours.entropy(), ref.entropy(kind, p), rtol=1e-4, atol=loose)
        expected = ref.kl(kind, p, q)
        size = np.max(p["alpha"] + p["beta"]) if kind == "beta" else 1.0
        agree(
            f"{kind}: kl_divergence(p=, q=)",
            kl_divergence(p=ours, q=theirs),
            expected,
            rtol=2e-3,
            atol=1e-7 + 2e-8 * size,
        )
        agree(f"{kind}: KL(p‖p)", kl_divergence(p=ours, q=ours), 0 * expected, rtol=0, atol=0)
        samples_follow_the_law(case, kind, p, ours, jax)
    return kind


def samples_follow_the_law(case: Case, kind: str, p: ref.Parameters, ours: Any, jax: Any) -> None:
    """The mean of log π over samples is −entropy, within seven of its standard errors."""
    count = 2000
    keys = jax.random.split(jax.random.key(int(case.rng.integers(2**31))), count)
    drawn = jax.tree.map(np.asarray, jax.vmap(ours.sample)(keys))
    rows = (jax.tree.map(lambda x, i=i: x[i], drawn) for i in range(count))
    logs = np.stack([ref.log_prob(kind, p, _as_double(row)) for row in rows])
    must(np.all(np.isfinite(logs)), f"{kind}: a sample has a log-probability that is not finite")
    error = logs.std(axis=0) / np.sqrt(count) + 1e-4
    score = np.abs(logs.mean(axis=0) + ref.entropy(kind, p)) / error
    must(
        np.all(score < 7),
        f"{kind}: the mean of log π over {count} samples is {np.max(score):.1f} standard errors "
        "from minus the entropy",
    )


def _as_double(action: Any) -> Any:
    if isinstance(action, tuple):
        return tuple(_as_double(part) for part in action)
    return action.astype(np.float64) if action.dtype.kind == "f" else action


def _reversed(names: Any) -> None:
    true = names.kl_divergence
    names.kl_divergence = lambda *, p, q: true(p=q, q=p)


def _averaged(names: Any) -> None:
    true = names.kl_divergence
    names.kl_divergence = lambda *, p, q: true(p=p, q=q) / 2


PROMISE = Promise(
    name="distributions",
    says="log-probability, entropy and KL(p‖q) are exact, in nats, summed over action dimensions; "
    "samples follow the density",
    judge=judge,
    plants={"KL(q‖p) instead": _reversed, "KL averaged over two dimensions": _averaged},
)
