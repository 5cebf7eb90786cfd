"""v ↦ (F + λI)v, the Fisher information of the policy times a vector, without forming F.

F = E_s[Jᵀ M J]: J is the Jacobian of the distribution's parameters in θ, M the distribution's own
Fisher matrix (``fisher_metric``). At θ_old this equals the Hessian of KL(old‖new)
(arXiv:1502.05477, App. C.1), needs first derivatives only, and is positive semi-definite by
construction, which the second derivative of a rounded KL is not.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from klamp.mathematics.distributions import kl_divergence
from klamp.mathematics.weighting import along, map_rows, of_sequences, scrub, weighted_mean
from klamp.runtime.cpu_matmul import rows_first
from klamp.types import Policy, PyTree

Matvec = Callable[[Any], Any]


def fisher_operator(
    policy: Policy,
    theta: PyTree,
    inputs: PyTree,
    *,
    weight: Float[Array, "*B"] | None = None,
    damping: float | Float[Array, ""] = 0.0,
) -> Matvec:
    """The map v ↦ (F + λI)v at ``theta``, linearised once for many products.

    Each product costs one jvp and one vjp of the network; the activations at θ are computed here,
    once. ``damping`` λ ≥ 0 is added to F's diagonal. ``weight`` has one or two axes, as a ``Batch``
    has them; its first is that of the rows of ``inputs``.
    """
    inputs = scrub(inputs, of_sequences(weight))

    def distribution(theta: Any) -> Any:
        return policy(theta, inputs)

    old, pushforward = jax.linearize(distribution, theta)
    pullback = rows_first(jax.linear_transpose(pushforward, theta))
    samples = old.entropy()
    share = jnp.full(samples.shape, 1 / samples.size) if weight is None else _normalised(weight)

    def matvec(vector: Any) -> Any:
        cotangent = old.fisher_metric(pushforward(vector))
        # What is Shared by all samples has no row to be weighed, and no curvature.
        weighted = map_rows(lambda leaf: leaf * along(share.astype(leaf.dtype), leaf), cotangent)
        (product,) = pullback(weighted)
        return jax.tree.map(lambda f, v: f + damping * v, product, vector)

    return matvec


def _normalised(weight: Float[Array, "*B"]) -> Float[Array, "*B"]:
    """Weights that sum to 1 (to 0 where none is positive)."""
    kept = jnp.where(weight > 0, weight, 0)
    total = jnp.sum(kept)
    return kept / jnp.where(total > 0, total, 1)


def fisher_vector_product(
    policy: Policy,
    theta: PyTree,
    inputs: PyTree,
    vector: PyTree,
    *,
    weight: Float[Array, "*B"] | None = None,
    damping: float | Float[Array, ""] = 0.0,
) -> PyTree:
    """(F + λI)v = E_s[Jᵀ M J]v + λv, by one jvp and one vjp.

    ``policy(theta, inputs)`` returns a distribution with one row per sample; ``theta`` and
    ``vector`` are pytrees of one structure (a flat vector included). Returns that structure.
    """
    return fisher_operator(policy, theta, inputs, weight=weight, damping=damping)(vector)


def kl_hessian_vector_product(
    policy: Policy,
    theta: PyTree,
    inputs: PyTree,
    vector: PyTree,
    *,
    weight: Float[Array, "*B"] | None = None,
    damping: float | Float[Array, ""] = 0.0,
) -> PyTree:
    """∇²_θ E_s[KL(old‖π_θ)]·v + λv at θ = θ_old: the definition that F is tested against.

    Slower and, in float32, less exact than ``fisher_vector_product``; nothing trains with it.
    """
    inputs = scrub(inputs, of_sequences(weight))
    old = jax.lax.stop_gradient(policy(theta, inputs))

    def mean_kl(theta: Any) -> Float[Array, ""]:
        return weighted_mean(kl_divergence(p=old, q=policy(theta, inputs)), weight)

    product = jax.jvp(jax.grad(mean_kl), (theta,), (vector,))[1]
    return jax.tree.map(lambda h, v: h + damping * v, product, vector)
