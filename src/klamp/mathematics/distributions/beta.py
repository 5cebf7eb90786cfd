"""Beta-distributed actions within the bounds of a Box (Chou et al., ICML 2017)."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.scipy.special import betaln, digamma, polygamma
from jax.typing import ArrayLike
from jaxtyping import Array, Float, PRNGKeyArray, UInt32

from klamp.mathematics.distributions.excess import log1p_excess
from klamp.mathematics.distributions.squashed import Bounds, as_floats, squash

SHIFTS = 4
"""Steps of log Γ(x + 1) = log Γ(x) + log x before Stirling's series is used."""
SERIES = ((9, 1 / 1188), (7, -1 / 1680), (5, 1 / 1260), (3, -1 / 360), (1, 1 / 12))
"""Stirling's: log Γ(x) − (x − ½) log x + x − ½ log 2π = Σ coefficient/x^power."""


class ScaledBeta(eqx.Module):
    """a = low + (high − low)·x with x ~ Beta(α, β), independent in each dimension; α, β > 0.

    What is sampled, stored and scored is y = log x − log(1 − x), any real number: neither x nor
    1 − x can round to 0 there. ``squash`` gives a. Log-probability and entropy are those of a, in
    its own units.
    """

    alpha: Float[Array, "*B a"]
    beta: Float[Array, "*B a"]
    low: tuple[float, ...] = eqx.field(static=True)
    high: tuple[float, ...] = eqx.field(static=True)

    def __init__(self, alpha: ArrayLike, beta: ArrayLike, low: Bounds, high: Bounds) -> None:
        self.alpha, self.beta = jnp.asarray(alpha), jnp.asarray(beta)
        self.low, self.high = as_floats(low), as_floats(high)

    def squash(self, log_odds: Float[Array, "*S a"]) -> Float[Array, "*S a"]:
        """The action of the environment, within the bounds."""
        low, high = (jnp.asarray(bound, log_odds.dtype) for bound in (self.low, self.high))
        # The sigmoid of log-odds is (1 + tanh of their half)/2.
        return squash(log_odds, low, high, 0.5)

    def noise(self, key: PRNGKeyArray, sample_shape: tuple[int, ...] = ()) -> UInt32[Array, "*S 2"]:
        """One key per row, as gamma variates are drawn by rejection."""
        return jax.random.bits(key, (*sample_shape, *self.alpha.shape[:-1], 2), jnp.uint32)

    def sample_from(self, noise: UInt32[Array, "*S 2"]) -> Float[Array, "*S a"]:
        """The log-odds y = log G(α) − log G(β) of two gamma variates."""
        shape = (*noise.shape[:-1], self.alpha.shape[-1])
        parameters = (jnp.broadcast_to(p, shape) for p in (self.alpha, self.beta))

        def row(data: Array, alpha: Array, beta: Array) -> Array:
            first, second = jax.random.split(jax.random.wrap_key_data(data, impl="threefry2x32"))
            return jax.random.loggamma(first, alpha) - jax.random.loggamma(second, beta)

        draw = row
        for _ in shape[:-1]:
            draw = jax.vmap(draw)
        return draw(noise, *parameters)

    def sample(self, key: PRNGKeyArray) -> Float[Array, "*B a"]:
        """One action for each row, as log-odds."""
        return self.sample_from(self.noise(key))

    def mode(self) -> Float[Array, "*B a"]:
        """The log-odds of the peak (α − 1)/(α + β − 2), for α, β ≥ 1; the middle at α = β = 1."""
        least = jnp.finfo(self.alpha.dtype).eps
        return jnp.log(jnp.maximum(self.alpha - 1, least)) - jnp.log(
            jnp.maximum(self.beta - 1, least)
        )

    def log_prob(self, action: ArrayLike) -> Float[Array, "*B"]:
        """(α − 1) log x + (β − 1) log(1 − x) − log B(α, β) − log(high − low), in nats, summed."""
        y = jnp.asarray(action)
        log_x, log_rest = jax.nn.log_sigmoid(y), jax.nn.log_sigmoid(-y)
        kernel = (self.alpha - 1) * log_x + (self.beta - 1) * log_rest
        return jnp.sum(kernel - betaln(self.alpha, self.beta) - self._log_width(), axis=-1)

    def entropy(self) -> Float[Array, "*B"]:
        """Log B − (α − 1)ψ(α) − (β − 1)ψ(β) + (α + β − 2)ψ(α + β) + log(high − low), summed."""
        a, b = self.alpha, self.beta
        terms = betaln(a, b) - (a - 1) * digamma(a) - (b - 1) * digamma(b)
        terms = terms + (a + b - 2) * digamma(a + b)
        return jnp.sum(terms + self._log_width(), axis=-1)

    def kl_to(self, other: "ScaledBeta") -> Float[Array, "*B"]:
        """Log B(q) − log B(p) + Δα·ψ(α) + Δβ·ψ(β) − (Δα + Δβ)·ψ(α + β), with Δ = p − q, summed.

        Near p = q every digit of that cancels. By Stirling's formula log Γ(x) is x log x − x −
        ½ log x + R(x), up to a constant, and the divergence is the same combination, in α, β and
        α + β, of what each term exceeds its tangent by (its Bregman divergence). Those of x log x
        add up to (α + β)_q times the divergence of two binary choices; each of the others is
        computed from x − log(1 + x) without cancellation.
        """
        a, b = self.alpha, self.beta
        da, db = other.alpha - a, other.beta - b
        total, change = a + b, da + db
        pieces = _of_choices(a, b, da, db)
        for sign, x, dx in ((1, a, da), (1, b, db), (-1, total, change)):
            pieces = pieces + sign * (0.5 * log1p_excess(dx / x) + _of_remainder(x, dx))
        return jnp.sum(pieces, axis=-1)

    def fisher_metric(self, tangent: "ScaledBeta") -> "ScaledBeta":
        """In (α, β): diag(ψ′(α), ψ′(β)) − ψ′(α + β)·11ᵀ."""
        curvature = polygamma(1, jnp.stack([self.alpha, self.beta, self.alpha + self.beta]))
        shared = curvature[2] * (tangent.alpha + tangent.beta)
        return type(self)(
            curvature[0] * tangent.alpha - shared,
            curvature[1] * tangent.beta - shared,
            self.low,
            self.high,
        )

    def _width(self, dtype: Any) -> Float[Array, " a"]:
        """The width of the bounds."""
        return jnp.asarray([h - lo for lo, h in zip(self.low, self.high, strict=True)], dtype)

    def _log_width(self) -> Float[Array, " a"]:
        return jnp.log(self._width(self.alpha.dtype))


def _of_choices(
    a: Float[Array, "*B a"], b: Float[Array, "*B a"], da: Array, db: Array
) -> Float[Array, "*B a"]:
    """(α + β)_q·KL(m_q‖m_p) of the binary choices with probabilities m = α/(α + β)."""
    new_a, new_b = a + da, b + db
    moved = (da * b - a * db) / ((a + b) * (new_a + new_b))  # m_q − m_p
    up, down = moved * (a + b) / a, -moved * (a + b) / b  # relative to m_p and 1 − m_p
    square = (new_a + new_b) * up * -down
    return square - new_a * log1p_excess(up) - new_b * log1p_excess(down)


def _of_remainder(a: Float[Array, "*B a"], change: Float[Array, "*B a"]) -> Float[Array, "*B a"]:
    """R(a + d) − R(a) − d·R′(a), for what Stirling's formula leaves of log Γ: R(x) ≈ 1/(12x).

    ``SHIFTS`` times R(x) = R(x + 1) + (x + ½)·log(1 + 1/x) − 1, unless x is large already; then
    ``SERIES``, term by term.
    """
    large = jnp.minimum(a, a + change) >= 2 * SHIFTS
    shifted = jnp.zeros_like(a)
    for j in range(SHIFTS):
        here, there = change / (a + j), change / (a + j + 1)
        # x log x exceeds its tangent by x·(t² − (1 + t)·excess(t)), with t = d/x.
        first, second = log1p_excess(here), log1p_excess(there)
        grown = (a + j + 1) * (jnp.square(there) - (1 + there) * second)
        grown = grown - (a + j) * (jnp.square(here) - (1 + here) * first)
        shifted = shifted + grown + 0.5 * (first + second)
    x = a + jnp.where(large, 0, SHIFTS)
    t = change / x
    u = 1 / (1 + t)
    inverse = 1 / x
    series = jnp.zeros_like(a)
    for power, coefficient in SERIES:
        # (1 + t)⁻ⁿ − 1 + nt = t²·Σ_k (n − k)·u^(k + 1), k = 0 … n − 1.
        terms = sum((power - k) * u ** (k + 1) for k in range(power))
        series = series + coefficient * inverse**power * terms
    return jnp.where(large, 0, shifted) + jnp.square(t) * series
