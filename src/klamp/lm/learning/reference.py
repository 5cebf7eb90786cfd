"""The KL to the model that a run began as: what it costs, and its price where that adapts.

What is reported, and charged in the loss, is KL(policy‖reference), exact over the vocabulary; off
the rewards goes the log-ratio of the sampled token, whose mean it is. It is not the trust region's
KL(old‖new), which bounds one update: this one grows over a run.
"""

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from klamp.mathematics.weighting import zeroed

GAIN, MOST = 0.5, 0.2
"""Of the controller: it changes β by at most a tenth an update."""


def charged(
    reward: Float[Array, "S A"],
    policy: Any,
    reference: Any,
    action: Int[Array, "S A"],
    coefficient: Float[Array, ""],
    weight: Float[Array, "S A"],
) -> Float[Array, "S A"]:
    """r_t − β·(log π(a_t) − log π_ref(a_t)), for the token that was sampled (arXiv:1909.08593, §2).

    The mean of the charge is the exact KL of the state. That itself would not do in its place: it
    is the same for every token of a state, so the policy gradient would see no difference between
    them, and nothing would draw the policy back.
    """
    charge = policy.log_prob(action) - reference.log_prob(action)
    return reward - coefficient * zeroed(charge, weight)


def adapted(coefficient: Float[Array, ""], kl: Float[Array, ""], target: float) -> Float[Array, ""]:
    """β·(1 + 0.5·e) with e = KL/target − 1, within ±0.2 (arXiv:1909.08593, §2.2).

    The paper's gain is 0.1, for more updates than a run has here. A KL of NaN changes nothing.
    """
    error = jnp.clip(kl / target - 1, -MOST, MOST)
    return coefficient * jnp.where(jnp.isfinite(error), 1 + GAIN * error, 1)
