"""Independent yes-or-no actions: those of MultiBinary."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray


class Bernoulli(eqx.Module):
    """n independent actions of 0 or 1, by the log-odds of 1."""

    logits: Float[Array, "*B n"]

    def __init__(self, logits: ArrayLike) -> None:
        self.logits = jnp.asarray(logits)

    def noise(self, key: PRNGKeyArray, sample_shape: tuple[int, ...] = ()) -> Float[Array, "*S n"]:
        """Logistic noise, one number per action."""
        return jax.random.logistic(key, (*sample_shape, *self.logits.shape), self.logits.dtype)

    def sample_from(self, noise: Float[Array, "*S n"]) -> Int[Array, "*S n"]:
        """1 where logits + logistic noise > 0."""
        return (self.logits + noise > 0).astype(jnp.int32)

    def sample(self, key: PRNGKeyArray) -> Int[Array, "*B n"]:
        """One action for each row."""
        return self.sample_from(self.noise(key))

    def mode(self) -> Int[Array, "*B n"]:
        """The more probable of 0 and 1."""
        return (self.logits > 0).astype(jnp.int32)

    def log_prob(self, action: ArrayLike) -> Float[Array, "*B"]:
        """Log π(action), in nats, summed over action dimensions."""
        signed = jnp.where(jnp.asarray(action) > 0, self.logits, -self.logits)
        return jnp.sum(jax.nn.log_sigmoid(signed), axis=-1)

    def entropy(self) -> Float[Array, "*B"]:
        """−Σ [p log p + (1 − p) log(1 − p)], in nats."""
        terms = (jax.nn.sigmoid(x) * jax.nn.log_sigmoid(x) for x in (self.logits, -self.logits))
        return -jnp.sum(sum(terms), axis=-1)

    def kl_to(self, other: "Bernoulli") -> Float[Array, "*B"]:
        """Σ [p log p/q + (1 − p) log (1 − p)/(1 − q)], each written as p·(d + expm1(−d)).

        d is log p − log q, of either outcome. The sum of the added terms, q − p and
        (1 − q) − (1 − p), is 0, and each summand is non-negative: nothing cancels near p = q.
        """
        outcomes = ((self.logits, other.logits), (-self.logits, -other.logits))
        return jnp.sum(sum(_excess(p, q) for p, q in outcomes), axis=-1)

    def fisher_metric(self, tangent: "Bernoulli") -> "Bernoulli":
        """p(1 − p)·tangent: the Fisher matrix in the logits is diagonal."""
        variance = jax.nn.sigmoid(self.logits) * jax.nn.sigmoid(-self.logits)
        return type(self)(variance * tangent.logits)


def _excess(p: Float[Array, "*S"], q: Float[Array, "*S"]) -> Float[Array, "*S"]:
    """π_p (log π_p − log π_q) + π_q − π_p of one outcome, from its log-odds."""
    log_p, log_q = jax.nn.log_sigmoid(p), jax.nn.log_sigmoid(q)
    d = log_p - log_q
    near: Bool[Array, "*S"] = d > -1
    small = jnp.where(near, d, 0)
    far = jnp.exp(log_p) * d + jnp.exp(log_q) - jnp.exp(log_p)
    return jnp.where(near, jnp.exp(log_p) * (small + jnp.expm1(-small)), far)
