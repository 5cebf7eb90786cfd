"""Random trust-region problems, judged in float64: no accepted step may leave its region.

    python benchmarks/trust_region.py                 # 12,000 problems for each of eight families
    python benchmarks/trust_region.py --count 2000 --family beta

Each problem draws a network, a policy (log σ from −10 to 0.5, means up to 1,000, logits of 30,
concentrations of Beta up to 1,000), a batch with rows of weight 0 that hold garbage, δ from 1e-8 to
10 and a damping. ``klamp.trust_region_step`` answers it, and so does the projection of PPO's
``max_kl``.
From the float32 parameters the networks and divergences are computed again in float64, by numpy
code of this file alone, from both definitions of the old policy: that of θ, and that of the batch.

An *ordinary* problem has log σ ≥ −3, |μ|/σ ≤ 30 in every row and δ ≥ 1e-4: there the reserve that
float32 needs must cost next to nothing. The table is written to results/trust_region.md.
"""

import argparse
import itertools
import json
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy.special import digamma, gammaln, polygamma

import klamp
from klamp import Batch, Outcome, distributions
from klamp.trust_region.projection import project_update

RESULTS = Path(__file__).parent / "results"
OBSERVATIONS, HIDDEN, ACTIONS, ROWS = 4, 16, 3, 24
TOGETHER = 250
"""Problems of one compiled call."""
LOW, HIGH = (-1.0,) * ACTIONS, (1.0,) * ACTIONS
SIZES = (3, 2, 4)
NODES, SHARES = np.polynomial.legendre.leggauss(24)


class Family(NamedTuple):
    """A kind of policy: the library's distribution, and ours in float64, from the same numbers."""

    name: str
    outputs: int
    build: Callable[[Any, Any], Any]
    """(network's outputs [B, outputs], free parameters [ACTIONS]) → klamp's distribution."""
    parameters: Callable[[Any, Any], dict[str, np.ndarray]]
    """The same in float64: the parameters by name."""
    kl: Callable[[dict[str, np.ndarray], dict[str, np.ndarray]], np.ndarray]
    """KL(p‖q) of each row in float64."""


# --- divergences in float64, from their definitions ----------------------------------------------


def gaussian_kl(p: dict[str, np.ndarray], q: dict[str, np.ndarray]) -> np.ndarray:
    s = p["log_std"] - q["log_std"]
    # expm1(2s) − 2s by its series where s is small: float64 cancels as float32 does.
    x = 2 * s
    series = sum(x**k / np.prod(np.arange(1.0, k + 1)) for k in range(2, 14))
    scale = np.where(np.abs(x) < 0.3, series, np.expm1(x) - x)
    shift = (p["mean"] - q["mean"]) * np.exp(-q["log_std"])
    return 0.5 * (scale + shift**2).sum(-1)


def log_softmax(logits: np.ndarray) -> np.ndarray:
    shifted = logits - logits.max(-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))


def categorical_kl(p: np.ndarray, q: np.ndarray) -> np.ndarray:
    log_p, log_q = log_softmax(p), log_softmax(q)
    d = log_p - log_q
    series = sum((-d) ** k / np.prod(np.arange(1.0, k + 1)) for k in range(2, 14))
    excess = np.where(np.abs(d) < 0.3, series, d + np.expm1(-np.minimum(d, 700)))
    far = np.exp(log_p) * d + np.exp(log_q) - np.exp(log_p)
    return np.where(d > -1, np.exp(log_p) * excess, far).sum(-1)


def bernoulli_kl(p: np.ndarray, q: np.ndarray) -> np.ndarray:
    pair = (np.stack([x, np.zeros_like(x)], -1) for x in (p, q))
    return categorical_kl(*pair).sum(-1)


def beta_kl(p: dict[str, np.ndarray], q: dict[str, np.ndarray]) -> np.ndarray:
    """The Bregman divergence of log B: ∫(1 − τ) dᵀ∇² log B(p + τd) d dτ; the textbook form afar."""
    a, b = p["alpha"], p["beta"]
    da, db = q["alpha"] - a, q["beta"] - b
    near = np.zeros_like(a)
    for node, share in zip((NODES + 1) / 2, SHARES / 2, strict=True):
        at = polygamma(1, a + node * da), polygamma(1, b + node * db)
        both = polygamma(1, a + b + node * (da + db))
        near += share * (1 - node) * (at[0] * da**2 + at[1] * db**2 - both * (da + db) ** 2)

    def log_beta(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return gammaln(x) + gammaln(y) - gammaln(x + y)

    total = digamma(a + b)
    far = log_beta(a + da, b + db) - log_beta(a, b)
    far = far - da * (digamma(a) - total) - db * (digamma(b) - total)
    small = np.maximum(np.abs(da) / np.minimum(a, a + da), np.abs(db) / np.minimum(b, b + db)) < 1
    return np.where(small, near, far).sum(-1)


def softplus(x: np.ndarray) -> np.ndarray:
    return np.logaddexp(x, 0.0)


# --- the families --------------------------------------------------------------------------------


def _mean(out: Any) -> Any:
    return out[..., :ACTIONS]


def _state_log_std(out: Any, free: Any) -> Any:
    return free + 0.5 * out[..., ACTIONS : 2 * ACTIONS] / (1 + jnp.abs(out[..., ACTIONS:]))


def _gaussian(out: np.ndarray, free: np.ndarray) -> dict[str, np.ndarray]:
    return {"mean": out[..., :ACTIONS], "log_std": np.broadcast_to(free, out.shape)}


def _of_the_state(out: np.ndarray, free: np.ndarray) -> dict[str, np.ndarray]:
    change = out[..., ACTIONS : 2 * ACTIONS]
    return {"mean": out[..., :ACTIONS], "log_std": free + 0.5 * change / (1 + np.abs(change))}


def _several_kl(p: dict[str, np.ndarray], q: dict[str, np.ndarray]) -> np.ndarray:
    cuts = np.cumsum((0, *SIZES))
    parts = [slice(a, b) for a, b in itertools.pairwise(cuts)]
    return sum(categorical_kl(p["logits"][..., s], q["logits"][..., s]) for s in parts)


def _beta(out: np.ndarray, free: np.ndarray) -> dict[str, np.ndarray]:
    # ln α, ln β: concentrations from e^-1 to e^8 and beyond, without 1 + softplus hiding any.
    alpha, beta = out[..., :ACTIONS], out[..., ACTIONS:]
    return {"alpha": 1 + softplus(alpha), "beta": 1 + softplus(beta)}


def _joint(out: np.ndarray, free: np.ndarray) -> dict[str, np.ndarray]:
    mean, rest = out[..., :ACTIONS], out[..., ACTIONS:]
    return {
        "mean": mean,
        "log_std": np.broadcast_to(free, mean.shape),
        "logits": rest[..., :4] / 30,
        "odds": rest[..., 4:6] / 30,
        "alpha": 1 + softplus(rest[..., 6:7]),
        "beta": 1 + softplus(rest[..., 7:8]),
    }


def _joint_kl(p: dict[str, np.ndarray], q: dict[str, np.ndarray]) -> np.ndarray:
    parts = gaussian_kl(p, q) + categorical_kl(p["logits"], q["logits"])
    return parts + bernoulli_kl(p["odds"], q["odds"]) + beta_kl(p, q)


def _library_joint(out: Any, free: Any) -> Any:
    rest = out[..., ACTIONS:]
    alpha, beta = (1 + jax.nn.softplus(rest[..., i : i + 1]) for i in (6, 7))
    return distributions.Joint(
        (
            distributions.DiagonalGaussian(_mean(out), free),
            distributions.Categorical(rest[..., :4] / 30),
            distributions.Bernoulli(rest[..., 4:6] / 30),
            distributions.ScaledBeta(alpha, beta, LOW[:1], HIGH[:1]),
        )
    )


def _library_beta(out: Any, free: Any) -> Any:
    alpha, beta = (1 + jax.nn.softplus(x) for x in (out[..., :ACTIONS], out[..., ACTIONS:]))
    return distributions.ScaledBeta(alpha, beta, LOW, HIGH)


def _logits(out: np.ndarray, free: np.ndarray) -> dict[str, np.ndarray]:
    return {"logits": out}


def _on_logits(kl: Callable[[Any, Any], np.ndarray]) -> Callable[[Any, Any], np.ndarray]:
    return lambda p, q: kl(p["logits"], q["logits"])


FAMILIES = (
    Family(
        "gaussian",
        ACTIONS,
        distributions.DiagonalGaussian,
        _gaussian,
        gaussian_kl,
    ),
    Family(
        "gaussian of the state",
        2 * ACTIONS,
        lambda out, free: distributions.DiagonalGaussian(_mean(out), _state_log_std(out, free)),
        _of_the_state,
        gaussian_kl,
    ),
    Family(
        "squashed",
        ACTIONS,
        lambda out, free: distributions.SquashedGaussian(
            distributions.DiagonalGaussian(out, free), LOW, HIGH
        ),
        _gaussian,
        gaussian_kl,
    ),
    Family("joint", ACTIONS + 8, _library_joint, _joint, _joint_kl),
    Family("beta", 2 * ACTIONS, _library_beta, _beta, beta_kl),
    Family(
        "categorical",
        5,
        lambda out, free: distributions.Categorical(out),
        _logits,
        _on_logits(categorical_kl),
    ),
    Family(
        "bernoulli",
        4,
        lambda out, free: distributions.Bernoulli(out),
        _logits,
        _on_logits(bernoulli_kl),
    ),
    Family(
        "multi-categorical",
        sum(SIZES),
        lambda out, free: distributions.MultiCategorical(out, SIZES),
        _logits,
        _several_kl,
    ),
)
CONTINUOUS = ("gaussian", "gaussian of the state", "squashed", "joint")


# --- problems ------------------------------------------------------------------------------------


def network(theta: dict[str, Any], x: Any, xp: Any) -> Any:
    """Two hidden layers of tanh, in the precision of what comes in."""
    h = xp.tanh(x @ theta["w1"] + theta["b1"][..., None, :])
    h = xp.tanh(h @ theta["w2"] + theta["b2"][..., None, :])
    return h @ theta["w3"] + theta["b3"][..., None, :]


def draw(family: Family, rng: np.random.Generator, count: int) -> dict[str, Any]:
    """``count`` problems at once, every array with a leading axis."""
    continuous = family.name in CONTINUOUS

    def normal(*shape: int, size: np.ndarray) -> np.ndarray:
        return rng.normal(size=(count, *shape)) * size.reshape(-1, *(1,) * len(shape))

    ones = np.ones(count)
    log_std = rng.uniform(-10, 0.5, (count, 1)) if continuous else np.zeros((count, 1))
    # Half of the means are of the size of σ, as in trained policies; the others up to 1,000.
    beyond = 10 ** rng.uniform(-2, 3, count)
    near = np.exp(log_std[:, 0]) * 10 ** rng.uniform(-1, 1.5, count)
    spread = np.where(rng.random(count) < 0.5, near, beyond)
    if not continuous:
        spread = 10 ** rng.uniform(-1.5, {"beta": 3.0}.get(family.name, 1.5), count)
    theta = {
        "w1": normal(OBSERVATIONS, HIDDEN, size=10 ** rng.uniform(-1, 0.5, count)),
        "b1": normal(HIDDEN, size=0.3 * ones),
        "w2": normal(HIDDEN, HIDDEN, size=10 ** rng.uniform(-1.5, 0, count)),
        "b2": normal(HIDDEN, size=0.3 * ones),
        "w3": normal(HIDDEN, family.outputs, size=spread / np.sqrt(HIDDEN)),
        "b3": normal(family.outputs, size=spread * rng.choice([0.0, 1.0], count)),
        "free": log_std + 0.3 * rng.normal(size=(count, ACTIONS)) * (log_std < 0),
    }
    theta = {name: leaf.astype(np.float32) for name, leaf in theta.items()}
    weight = rng.uniform(0.2, 2, (count, ROWS)) * (rng.random((count, ROWS)) < 0.8)
    weight[:, 0] = 1
    scale = 10 ** rng.uniform(-3, 3, (count, 1))
    return {
        "theta": theta,
        "observation": rng.normal(size=(count, ROWS, OBSERVATIONS)).astype(np.float32),
        "weight": weight.astype(np.float32),
        "advantage": (scale * rng.normal(size=(count, ROWS))).astype(np.float32),
        "garbage": rng.choice([np.nan, np.inf, -1e38, 0.0], count).astype(np.float32),
        "max_kl": (10 ** rng.uniform(-8, 1, count)).astype(np.float32),
        "damping": (10 ** rng.uniform(-5, 0, count)).astype(np.float32),
        "direction": rng.normal(size=(count, 3)).astype(np.float32),
        "reach": (10 ** rng.uniform(-0.5, 1.5, count)).astype(np.float32),
        "seed": rng.integers(0, 2**31, count),
    }


@partial(jax.jit, static_argnums=0)
def solve(family: Family, problems: dict[str, Any]) -> dict[str, Any]:
    """The library's answers."""

    def policy(theta: Any, inputs: Any) -> Any:
        return family.build(network(theta, inputs, jnp), theta["free"])

    def one(problem: dict[str, Any]) -> dict[str, Any]:
        theta, weight = problem["theta"], problem["weight"]
        old = policy(theta, problem["observation"])
        action = old.sample(jax.random.key(problem["seed"]))
        batch = Batch(problem["observation"], action, problem["advantage"], old)

        def spoil(leaf: Any) -> Any:
            if not jnp.issubdtype(leaf.dtype, jnp.floating):
                return leaf
            keep = (weight > 0).reshape(-1, *(1,) * (leaf.ndim - 1))
            return jnp.where(keep, leaf, problem["garbage"])

        batch = jax.tree.map(spoil, batch)._replace(weight=weight)
        options = {"max_kl": problem["max_kl"], "damping": problem["damping"]}
        stepped, report = klamp.trust_region_step(policy, theta, batch, **options)
        # An update that leaves the region, as epochs of minibatches do: along the step, and aside.
        size = jax.tree.map(lambda new, old: new - old, stepped, theta)
        keys = jax.random.split(jax.random.key(problem["seed"] + 1), len(theta))
        aside = 1e-3 * problem["direction"][0]
        far = {
            name: theta[name]
            + problem["reach"] * leaf
            + aside * jnp.abs(theta[name]) * jax.random.normal(keys[i], leaf.shape)
            for i, (name, leaf) in enumerate(size.items())
        }
        projection = project_update(policy, theta, far, batch, max_kl=problem["max_kl"])
        shown = old if not isinstance(old, distributions.Joint) else old.parts
        return {
            "stepped": stepped,
            "report": report._asdict(),
            "projected": projection.theta,
            "fraction": projection.fraction,
            "old": jax.tree.leaves(shown),
        }

    return jax.vmap(one)(problems)


# --- the judgement -------------------------------------------------------------------------------


def exact(family: Family, theta: dict[str, np.ndarray], x: np.ndarray) -> dict[str, np.ndarray]:
    """The policy's parameters in float64, from the float32 θ."""
    wide = {name: np.asarray(leaf, np.float64) for name, leaf in theta.items()}
    out = network(wide, np.asarray(x, np.float64), np)
    return family.parameters(out, wide["free"][..., None, :])


def as_given(family: Family, leaves: list[np.ndarray]) -> dict[str, np.ndarray]:
    """The old policy's parameters as the batch has them, in float32."""
    wide = [np.asarray(leaf, np.float64) for leaf in leaves]
    names = {
        "joint": ("mean", "log_std", "logits", "odds", "alpha", "beta"),
        "beta": ("alpha", "beta"),
    }.get(family.name, ("mean", "log_std") if family.name in CONTINUOUS else ("logits",))
    return dict(zip(names, wide, strict=True))


def mean_kl(kl: np.ndarray, weight: np.ndarray) -> np.ndarray:
    wide = np.asarray(weight, np.float64)
    kept = np.where(wide > 0, kl, 0)
    return (wide * kept).sum(-1) / wide.sum(-1)


def same_bits(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> np.ndarray:
    """[count]: whether every leaf is the same to the bit."""
    equal = [
        (one[name].view(np.uint32) == other[name].view(np.uint32)).reshape(len(one[name]), -1)
        for name in one
    ]
    return np.concatenate(equal, axis=1).all(axis=1)


def judge(family: Family, problems: dict[str, Any], answers: dict[str, Any]) -> dict[str, Any]:
    """Per problem: accepted, KL/δ of both definitions, whether a refused θ is the same."""
    x, weight, max_kl = (problems[name] for name in ("observation", "weight", "max_kl"))
    old, given = exact(family, problems["theta"], x), as_given(family, answers["old"])
    rows: dict[str, Any] = {"max_kl": max_kl}
    with np.errstate(all="ignore"):
        for name in ("stepped", "projected"):
            new = exact(family, answers[name], x)
            kls = [mean_kl(family.kl(each, new), weight) for each in (old, given)]
            rows[name] = np.stack([kl / max_kl for kl in kls])
            rows[f"{name} same"] = same_bits(answers[name], problems["theta"])
    rows["accepted"] = answers["report"]["outcome"] == Outcome.ACCEPTED
    rows["outcome"] = answers["report"]["outcome"]
    rows["reported"] = answers["report"]["kl"] / max_kl
    rows["fraction"] = answers["fraction"]
    rows["ordinary"] = max_kl >= 1e-4
    if family.name in CONTINUOUS:
        far = np.abs(old["mean"]) * np.exp(-old["log_std"])
        rows["ordinary"] &= (far.max((-1, -2)) <= 30) & (old["log_std"].min((-1, -2)) >= -3)
    else:
        size = max(np.abs(part).max() for part in old.values())
        rows["ordinary"] &= np.full(len(max_kl), np.isfinite(size))
    return rows


def run(family: Family, count: int, seed: int) -> dict[str, np.ndarray]:
    """All problems of a family."""
    rng = np.random.default_rng([seed, FAMILIES.index(family)])
    parts = []
    for _ in range(0, count, TOGETHER):
        problems = draw(family, rng, TOGETHER)
        answers = jax.device_get(solve(family, problems))
        parts.append(judge(family, problems, answers))
    return {name: np.concatenate([p[name] for p in parts], axis=-1) for name in parts[0]}


def verdict(found: dict[str, np.ndarray]) -> dict[str, float]:
    """The numbers of one row of the table."""
    accepted, ordinary = found["accepted"], found["ordinary"]
    moved = accepted & (found["stepped"].max(0) > 0)
    drawn = (found["fraction"] < 1) & ~found["projected same"]
    usual = accepted & ordinary
    edge = drawn & ordinary
    return {
        "problems": len(accepted),
        "accepted": int(accepted.sum()),
        "above": int((found["stepped"][:, moved].max(0) > 1).sum()),
        "worst": float(found["stepped"][:, moved].max(initial=0)),
        "refused changed": int((~accepted & ~found["stepped same"]).sum()),
        "drawn back": int(drawn.sum()),
        "projected above": int((found["projected"][:, drawn].max(0) > 1).sum()),
        "projected worst": float(found["projected"][:, drawn].max(initial=0)),
        "left where it was": int(found["projected same"].sum()),
        "ordinary": int(ordinary.sum()),
        "ordinary accepted": int(usual.sum()),
        "ordinary KL/δ": float(found["stepped"][0, usual].mean()),
        "ordinary projected KL/δ": float(found["projected"][0, edge].mean()),
    }


def write(rows: dict[str, dict[str, float]], seconds: float) -> None:
    """The table."""
    names = list(next(iter(rows.values())))
    lines = [
        "# Trust regions judged in float64",
        "",
        f"`python benchmarks/trust_region.py`, {seconds:.0f} s. What the columns mean stands at "
        "the top of that file.",
        "",
        "| family | " + " | ".join(names) + " |",
        "|---" * (len(names) + 1) + "|",
    ]
    for family, row in rows.items():
        cells = [f"{v:,}" if isinstance(v, int) else f"{v:.4f}" for v in row.values()]
        lines.append(f"| {family} | " + " | ".join(cells) + " |")
    (RESULTS / "trust_region.md").write_text("\n".join(lines) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, default=12_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--family", default=None)
    parser.add_argument("--write", action="store_true", help="write results/trust_region.md")
    given = parser.parse_args()
    began, rows = time.perf_counter(), {}
    for family in FAMILIES:
        if given.family in (None, family.name):
            rows[family.name] = verdict(run(family, given.count, given.seed))
            print(family.name, json.dumps(rows[family.name], ensure_ascii=False), flush=True)
    if given.write:
        write(rows, time.perf_counter() - began)


if __name__ == "__main__":
    main()
