"""Random policies of the judge's own: one forward pass for numpy in float64 and for JAX."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import references as ref
from case import Case

KINDS = ("gaussian", "state", "squashed", "joint", "beta", "categorical", "bernoulli", "multi")
SIZES = (2, 3, 4)
LOW, HIGH = np.array([-2.0, 0.5]), np.array([1.0, 3.0])
ACTIONS = 2
CHOICES = 4


@dataclass(frozen=True)
class Shape:
    """A policy's kind and the sizes of its network."""

    kind: str
    seen: int
    hidden: int

    @property
    def outputs(self) -> int:
        """Numbers that the last layer gives."""
        each = {"state": 4, "beta": 4, "categorical": CHOICES, "bernoulli": 3, "multi": sum(SIZES)}
        return each.get(self.kind, ACTIONS + CHOICES if self.kind == "joint" else ACTIONS)

    @property
    def cuts(self) -> list[int]:
        """Where the parts of θ end: two layers and, where it is a parameter, log σ."""
        own = ACTIONS if self.kind in ("gaussian", "squashed", "joint") else 0
        sizes = (
            self.seen * self.hidden,
            self.hidden,
            self.hidden * self.outputs,
            self.outputs,
            own,
        )
        return [int(n) for n in np.cumsum(sizes)]

    def parameters(  # noqa: PLR0911 - one a kind
        self, theta: Any, seen: Any, xp: Any
    ) -> ref.Parameters:
        """What the distribution is made of, by numpy or by JAX, whichever ``xp`` is."""
        a, b, c, d, e = self.cuts
        x = xp.tanh(seen @ theta[:a].reshape(self.seen, self.hidden) + theta[a:b])
        out = x @ theta[b:c].reshape(self.hidden, self.outputs) + theta[c:d]
        scale = xp.broadcast_to(theta[d:e], (len(seen), e - d))
        match self.kind:
            case "gaussian":
                return {"mean": out, "log_std": scale}
            case "squashed":
                return {"mean": out, "log_std": scale, "low": LOW, "high": HIGH}
            case "state":
                return {"mean": out[:, :2], "log_std": out[:, 2:]}
            case "beta":
                grown = 1 + _softplus(out, xp)
                return {"alpha": grown[:, :2], "beta": grown[:, 2:], "low": LOW, "high": HIGH}
            case "multi":
                return {"logits": out, "sizes": SIZES}
            case "joint":
                return {"logits": out[:, :CHOICES], "mean": out[:, CHOICES:], "log_std": scale}
            case _:
                return {"logits": out}

    def policy(self, theta: Any, seen: Any) -> Any:
        """What klamp is given: a distribution with one row per sample."""
        import jax.numpy as jnp

        return distribution(self.kind, self.parameters(theta, seen, jnp))


def _softplus(x: Any, xp: Any) -> Any:
    """log(1 + eˣ); fit for complex steps."""
    up = x.real > 0
    return xp.where(up, x, 0) + xp.log1p(xp.exp(xp.where(up, -x, x)))


def distribution(kind: str, p: ref.Parameters) -> Any:  # noqa: PLR0911 - one a kind
    """The package's distribution of these parameters."""
    import klamp
    from klamp import distributions as d

    low, high = tuple(LOW), tuple(HIGH)
    match kind:
        case "gaussian" | "state":
            return klamp.DiagonalGaussian(p["mean"], p["log_std"])
        case "squashed":
            return d.SquashedGaussian(klamp.DiagonalGaussian(p["mean"], p["log_std"]), low, high)
        case "beta":
            return d.ScaledBeta(p["alpha"], p["beta"], low, high)
        case "categorical":
            return klamp.Categorical(p["logits"])
        case "bernoulli":
            return d.Bernoulli(p["logits"])
        case "multi":
            return d.MultiCategorical(p["logits"], SIZES)
        case _:
            normal = klamp.DiagonalGaussian(p["mean"], p["log_std"])
            return d.Joint((klamp.Categorical(p["logits"]), normal))


def draw_theta(case: Case, shape: Shape, *, hard: bool) -> np.ndarray:
    """Parameters of an ordinary policy, or of one with small deviations and large numbers."""
    rng, (a, b, c, d, e) = case.rng, shape.cuts
    theta = rng.normal(size=e)
    theta[:a] /= np.sqrt(shape.seen)
    theta[a:b] *= 0.3
    size = 10 ** rng.uniform(-1, 3 if hard else 0.3)
    if shape.kind in ("categorical", "bernoulli", "multi", "beta", "joint"):
        size = min(size, 10.0)
    theta[b:d] *= size / np.sqrt(shape.hidden)
    theta[d:e] = rng.uniform(-10 if hard else -2, 0.5)
    if shape.kind == "state":
        last = theta[b:c].reshape(shape.hidden, 4)
        last[:, 2:] *= 0.3 / max(size, 1.0)
        theta[c + 2 : d] = rng.uniform(-10 if hard else -2, 0.5)
    return theta.astype(np.float32)


def draw_actions(case: Case, kind: str, p: ref.Parameters) -> Any:
    """An action of each row, from the policy, as klamp stores actions."""
    rng = case.rng

    def choice(logits: Any) -> Any:
        return np.argmax(logits + rng.gumbel(size=logits.shape), axis=-1).astype(np.int32)

    def normal() -> Any:
        drawn = p["mean"] + np.exp(p["log_std"]) * rng.normal(size=p["mean"].shape)
        return drawn.astype(np.float32)

    match kind:
        case "beta":
            x, y = rng.gamma(p["alpha"]), rng.gamma(p["beta"])
            return (np.log(x) - np.log(y)).astype(np.float32)
        case "categorical":
            return choice(p["logits"])
        case "bernoulli":
            yes = rng.random(p["logits"].shape) < 1 / (1 + np.exp(-p["logits"]))
            return yes.astype(np.int32)
        case "multi":
            return np.stack([choice(x) for x in ref.split(p["logits"], SIZES)], axis=-1)
        case "joint":
            return choice(p["logits"]), normal()
        case _:
            return normal()


def gradient(shape: Shape, theta: Any, seen: Any, action: Any, scores: Any) -> np.ndarray:
    """∇ Σ scores·log π by complex steps, exact to float64."""
    result = np.zeros(len(theta))
    for i in range(len(theta)):
        moved = theta.astype(np.complex128)
        moved[i] += 1e-20j
        logs = ref.log_prob(shape.kind, shape.parameters(moved, seen, np), action)
        result[i] = np.sum(scores * np.imag(logs)) / 1e-20
    return result


def fisher(shape: Shape, theta: Any, seen: Any, weight: Any) -> np.ndarray:
    """E[JᵀMJ] over the rows with weight, J by complex steps and M in closed form."""
    p = shape.parameters(theta, seen, np)
    names = [name for name in ("logits", "mean", "log_std", "alpha", "beta") if name in p]
    columns = []
    for i in range(len(theta)):
        moved = theta.astype(np.complex128)
        moved[i] += 1e-20j
        q = shape.parameters(moved, seen, np)
        columns.append(np.concatenate([np.imag(q[name]) / 1e-20 for name in names], axis=-1))
    jacobian = np.stack(columns, axis=-1)
    metric = _metric(shape.kind, p)
    share = weight / np.sum(weight)
    return np.einsum("b,bpi,bpq,bqj->ij", share, jacobian, metric, jacobian)


def _metric(kind: str, p: ref.Parameters) -> np.ndarray:
    """The Fisher matrix of the parameters themselves, one per row."""
    rows = len(next(iter(p.values())))

    def diagonal(entries: Any) -> np.ndarray:
        return np.einsum("bi,ij->bij", entries, np.eye(entries.shape[1]))

    def categorical(logits: Any) -> np.ndarray:
        share = np.exp(ref.log_softmax(logits))
        return diagonal(share) - share[:, :, None] * share[:, None, :]

    def together(*blocks: np.ndarray) -> np.ndarray:
        size = sum(block.shape[1] for block in blocks)
        result, at = np.zeros((rows, size, size)), 0
        for block in blocks:
            result[:, at : at + block.shape[1], at : at + block.shape[1]] = block
            at += block.shape[1]
        return result

    match kind:
        case "categorical":
            return categorical(p["logits"])
        case "multi":
            return together(*(categorical(x) for x in ref.split(p["logits"], SIZES)))
        case "bernoulli":
            yes = 1 / (1 + np.exp(-p["logits"]))
            return diagonal(yes * (1 - yes))
        case "beta":
            curved = [ref.special.polygamma(1, p[name]) for name in ("alpha", "beta")]
            total = ref.special.polygamma(1, p["alpha"] + p["beta"])
            cross = -diagonal(total)
            first, second = (diagonal(c) + cross for c in curved)
            return np.block([[first, cross], [cross, second]])
    normal = together(diagonal(np.exp(-2 * p["log_std"])), diagonal(2 + 0 * p["log_std"]))
    return together(categorical(p["logits"]), normal) if kind == "joint" else normal
