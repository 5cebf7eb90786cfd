"""A choice among n actions."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray


class Categorical(eqx.Module):
    """A choice among n actions 0 … n−1, by unnormalised log-probabilities."""

    logits: Float[Array, "*B n"]

    def __init__(self, logits: ArrayLike) -> None:
        self.logits = jnp.asarray(logits)

    @property
    def log_probabilities(self) -> Float[Array, "*B n"]:
        """Log π(·), normalised."""
        return jax.nn.log_softmax(self.logits)

    def noise(self, key: PRNGKeyArray, sample_shape: tuple[int, ...] = ()) -> Float[Array, "*S n"]:
        """Gumbel noise, one number per action."""
        return jax.random.gumbel(key, (*sample_shape, *self.logits.shape), self.logits.dtype)

    def sample_from(self, noise: Float[Array, "*S n"]) -> Int[Array, "*S"]:
        """argmax(logits + Gumbel noise): distributed as softmax(logits)."""
        return jnp.argmax(self.logits + noise, axis=-1)

    def sample(self, key: PRNGKeyArray) -> Int[Array, "*B"]:
        """One action for each row."""
        return self.sample_from(self.noise(key))

    def mode(self) -> Int[Array, "*B"]:
        """The most probable action of each row."""
        return jnp.argmax(self.logits, axis=-1)

    def log_prob(self, action: ArrayLike) -> Float[Array, "*B"]:
        """Log π(action), in nats."""
        # A comparison with every action, not a gather: its transpose is a scatter, slow on a CPU.
        chosen = jnp.arange(self.logits.shape[-1]) == jnp.asarray(action)[..., None]
        return jnp.sum(jnp.where(chosen, self.log_probabilities, 0), axis=-1)

    def entropy(self) -> Float[Array, "*B"]:
        """−Σ π log π, in nats."""
        log_p = self.log_probabilities
        return -jnp.sum(jnp.exp(log_p) * log_p, axis=-1)

    def kl_to(self, other: "Categorical") -> Float[Array, "*B"]:
        """Σ p (log p − log q), as Σ [p (log p − log q) + q − p].

        The added terms sum to 0, and make each summand non-negative: near p = q the plain sum
        cancels to a rounding error of either sign, this one does not. (Clamping the result at 0
        instead would halve its second derivative at p = q, which is the Fisher matrix.)
        With d = log p − log q, q − p is p·expm1(−d) unless q is much larger: the rounding errors
        of two exponentials are of size p·ε, where the summand is ½pd².
        """
        log_p, log_q = self.log_probabilities, other.log_probabilities
        p, d = jnp.exp(log_p), log_p - log_q
        near = d > -1
        small = jnp.where(near, d, 0)
        far = p * d + (jnp.exp(log_q) - p)
        return jnp.sum(jnp.where(near, p * (small + jnp.expm1(-small)), far), axis=-1)

    def fisher_metric(self, tangent: "Categorical") -> "Categorical":
        """(diag(p) − ppᵀ)·tangent: the Fisher matrix in the logits."""
        p = jnp.exp(self.log_probabilities)
        u = tangent.logits
        return type(self)(p * (u - jnp.sum(p * u, axis=-1, keepdims=True)))

    def masked(self, allowed: Bool[Array, "*B n"]) -> "Categorical":
        """The same choice among the allowed actions only: all others have probability exactly 0.

        Their logits become half the most negative number, not −∞: every log-probability stays
        finite, and so does each product with a probability of 0. Where nothing is allowed (a row
        of weight 0) the result is uniform, and no gradient flows.
        """
        return type(self)(jnp.where(allowed, self.logits, jnp.finfo(self.logits.dtype).min / 2))
