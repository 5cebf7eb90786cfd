"""The KL to the model that a run began as: what it costs, and its price where that adapts.

KL(policy‖reference) is exact over the vocabulary, for each token. It is not the trust region's
KL(old‖new), which bounds one update: this one grows over a run.
"""

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from klamp.mathematics.distributions import kl_divergence
from klamp.mathematics.weighting import zeroed

GAIN, MOST = 0.5, 0.2
"""Of the controller: it changes β by at most a tenth an update."""


def charged(
    reward: Float[Array, "S A"],
    policy: Any,
    reference: Any,
    coefficient: Float[Array, ""],
    weight: Float[Array, "S A"],
) -> Float[Array, "S A"]:
    """R_t − β·KL(policy‖reference) in the state where token t was chosen (arXiv:1909.08593, §2).

    The paper has log π(a) − log π_ref(a) of the sampled token in its place, whose mean this is.
    """
    kl = kl_divergence(p=policy, q=reference)
    return reward - coefficient * zeroed(kl, weight)


def adapted(coefficient: Float[Array, ""], kl: Float[Array, ""], target: float) -> Float[Array, ""]:
    """β·(1 + 0.5·e) with e = KL/target − 1, within ±0.2 (arXiv:1909.08593, §2.2).

    The paper's gain is 0.1, for more updates than a run has here. A KL of NaN changes nothing.
    """
    error = jnp.clip(kl / target - 1, -MOST, MOST)
    return coefficient * jnp.where(jnp.isfinite(error), 1 + GAIN * error, 1)
