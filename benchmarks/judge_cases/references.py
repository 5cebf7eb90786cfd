"""The definitions in float64: log-probability, entropy and KL of every kind of policy.

A policy's parameters are a dict of arrays with one row per sample. Nothing here is klamp's.
"""

from typing import Any

import numpy as np
from scipy import special

Parameters = dict[str, Any]
_NODES, _NODE_WEIGHTS = np.polynomial.legendre.leggauss(40)
_HERMITE, _HERMITE_WEIGHTS = np.polynomial.hermite_e.hermegauss(120)


def log_softmax(logits: Any) -> Any:
    """Log-probabilities; fit for complex steps."""
    shifted = logits - np.max(np.real(logits), axis=-1, keepdims=True)
    return shifted - np.log(np.sum(np.exp(shifted), axis=-1, keepdims=True))


def _discrete_kl(p: Any, q: Any) -> Any:
    """KL of log-probabilities over the last axis, as a sum of terms ≥ 0."""
    d = p - q
    terms = np.exp(p) * (d + np.expm1(-d))
    return np.sum(np.where(np.isneginf(p), np.exp(q), terms), axis=-1)


def _pairs(logits: Any) -> Any:
    """Log-probabilities of no and yes."""
    return np.stack([-np.logaddexp(0, logits), -np.logaddexp(0, -logits)], axis=-1)


def _gaussian_kl(p: Parameters, q: Parameters) -> Any:
    s = p["log_std"] - q["log_std"]
    series = 2 * s**2 + 4 / 3 * s**3 + 2 / 3 * s**4 + 4 / 15 * s**5
    spread = np.where(np.abs(s) < 1e-3, series, np.expm1(2 * s) - 2 * s)
    shift = (p["mean"] - q["mean"]) * np.exp(-q["log_std"])
    return np.sum(0.5 * spread + 0.5 * shift**2, axis=-1)


def _beta_kl(p: Parameters, q: Parameters) -> Any:
    """∫₀¹ (1 − t) dᵀ∇²F(p + t·d) d dt: the divergence of the log-normaliser F, without loss."""
    a, b = p["alpha"][..., None], p["beta"][..., None]
    da, db = q["alpha"][..., None] - a, q["beta"][..., None] - b
    t = (_NODES + 1) / 2
    at, bt = a + t * da, b + t * db
    curved = (
        da**2 * special.polygamma(1, at)
        + db**2 * special.polygamma(1, bt)
        - (da + db) ** 2 * special.polygamma(1, at + bt)
    )
    return np.sum(np.sum(_NODE_WEIGHTS / 2 * (1 - t) * curved, axis=-1), axis=-1)


def split(logits: Any, sizes: Any) -> list[Any]:
    """The logits of each choice."""
    return np.split(logits, np.cumsum(sizes)[:-1], axis=-1)


def kl(kind: str, p: Parameters, q: Parameters) -> Any:
    """KL(p‖q) of each row, in nats, summed over action dimensions."""
    match kind:
        case "gaussian" | "state" | "squashed":
            return _gaussian_kl(p, q)
        case "beta":
            return _beta_kl(p, q)
        case "categorical":
            return _discrete_kl(log_softmax(p["logits"]), log_softmax(q["logits"]))
        case "bernoulli":
            return np.sum(_discrete_kl(_pairs(p["logits"]), _pairs(q["logits"])), axis=-1)
        case "multi":
            parts = zip(split(p["logits"], p["sizes"]), split(q["logits"], q["sizes"]), strict=True)
            return sum(_discrete_kl(log_softmax(a), log_softmax(b)) for a, b in parts)
        case _:
            return _gaussian_kl(p, q) + kl("categorical", p, q)


def log_prob(kind: str, p: Parameters, action: Any) -> Any:  # noqa: PLR0911
    """Log-probability of each row's action, as klamp stores actions; fit for complex steps."""
    rows = np.arange(len(p["logits"])) if "logits" in p else None
    match kind:
        case "gaussian" | "state":
            z = (action - p["mean"]) * np.exp(-p["log_std"])
            return np.sum(-0.5 * z**2 - p["log_std"] - 0.5 * np.log(2 * np.pi), axis=-1)
        case "squashed":
            slope = np.log((p["high"] - p["low"]) / 2) + 2 * (
                np.log(2) - np.abs(action) - np.log1p(np.exp(-2 * np.abs(action)))
            )
            return log_prob("gaussian", p, action) - np.sum(slope, axis=-1)
        case "beta":
            a, b = p["alpha"], p["beta"]
            x, rest = -np.logaddexp(0, -action), -np.logaddexp(0, action)
            norm = special.loggamma(a) + special.loggamma(b) - special.loggamma(a + b)
            width = np.log(p["high"] - p["low"])
            return np.sum((a - 1) * x + (b - 1) * rest - norm - width, axis=-1)
        case "categorical":
            return log_softmax(p["logits"])[rows, action]
        case "bernoulli":
            return np.sum(action * p["logits"] - _softplus(p["logits"]), axis=-1)
        case "multi":
            parts = split(p["logits"], p["sizes"])
            return sum(log_softmax(x)[rows, action[:, i]] for i, x in enumerate(parts))
        case _:
            return log_prob("categorical", p, action[0]) + log_prob("gaussian", p, action[1])


def _softplus(x: Any) -> Any:
    """log(1 + eˣ), fit for complex steps."""
    return np.where(np.real(x) > 0, x, 0) + np.log1p(np.exp(np.where(np.real(x) > 0, -x, x)))


def entropy(kind: str, p: Parameters) -> Any:  # noqa: PLR0911
    """The entropy of each row, in nats."""
    match kind:
        case "gaussian" | "state":
            return np.sum(p["log_std"] + 0.5 * np.log(2 * np.pi * np.e) + 0 * p["mean"], axis=-1)
        case "squashed":
            u = p["mean"][..., None] + np.exp(p["log_std"])[..., None] * _HERMITE
            slope = 2 * (np.log(2) - np.abs(u) - np.log1p(np.exp(-2 * np.abs(u))))
            mean = np.sum(_HERMITE_WEIGHTS * slope, axis=-1) / np.sqrt(2 * np.pi)
            width = np.log((p["high"] - p["low"]) / 2)
            return entropy("gaussian", p) + np.sum(mean + width, axis=-1)
        case "beta":
            a, b = p["alpha"], p["beta"]
            inner = (a - 1) * special.digamma(a) + (b - 1) * special.digamma(b)
            total = special.betaln(a, b) - inner + (a + b - 2) * special.digamma(a + b)
            return np.sum(total + np.log(p["high"] - p["low"]), axis=-1)
        case "categorical":
            return _discrete_entropy(log_softmax(p["logits"]))
        case "bernoulli":
            return np.sum(_discrete_entropy(_pairs(p["logits"])), axis=-1)
        case "multi":
            parts = split(p["logits"], p["sizes"])
            return sum(_discrete_entropy(log_softmax(x)) for x in parts)
        case _:
            return entropy("categorical", p) + entropy("gaussian", p)


def _discrete_entropy(logs: Any) -> Any:
    return -np.sum(np.where(np.isneginf(logs), 0, np.exp(logs) * logs), axis=-1)


def weighted(x: Any, weight: Any) -> float:
    """The mean over the rows with weight; what stands in the others is never looked at."""
    kept = np.asarray(weight) > 0
    return float(np.sum(np.asarray(weight)[kept] * x[kept]) / np.sum(np.asarray(weight)[kept]))


def moments(values: Any) -> tuple[int, Any, Any]:
    """Count, mean, sum of squared deviations over the first axis, in two passes."""
    values = np.asarray(values, np.float64)
    mean = values.mean(axis=0)
    return len(values), mean, np.square(values - mean).sum(axis=0)


def gae(
    reward: Any,
    value: Any,
    after: Any,
    terminated: Any,
    truncated: Any,
    discount: float,
    decay: float,
) -> Any:
    """A_t = δ_t + γλ(1 − terminated)(1 − truncated)·A_{t+1}, δ = r + γ(1 − terminated)V' − V."""
    result, running = np.zeros(np.shape(reward)), np.zeros(np.shape(reward)[1:])
    for t in reversed(range(len(reward))):
        alive = np.where(terminated[t], 0.0, 1.0)
        delta = reward[t] + discount * alive * after[t] - value[t]
        goes_on = alive * np.where(truncated[t], 0.0, 1.0)
        running = delta + discount * decay * goes_on * running
        result[t] = running
    return result


def returns(reward: Any, after: Any, terminated: Any, truncated: Any, discount: float) -> Any:
    """R_t = r_t + γ·R_{t+1}; V of what followed at a truncation and at the end."""
    result, running = np.zeros(np.shape(reward)), np.asarray(after[-1], np.float64)
    for t in reversed(range(len(reward))):
        following = after[t] if t == len(reward) - 1 else np.where(truncated[t], after[t], running)
        running = reward[t] + discount * np.where(terminated[t], 0.0, following)
        result[t] = running
    return result
