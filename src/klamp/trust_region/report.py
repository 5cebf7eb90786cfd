"""What is told of a trust-region step: its outcome, and everything that was measured on the way."""

from enum import IntEnum
from typing import NamedTuple

from jaxtyping import Array, Float, Int


class Outcome(IntEnum):
    """What became of an update. On all but ACCEPTED and PROJECTED, θ is bit-identical."""

    ACCEPTED = 0
    """The update was made."""
    ZERO_GRADIENT = 1
    """No direction improves the surrogate: advantages of zero, or a policy that cannot move."""
    NONPOSITIVE_CURVATURE = 2
    """xᵀ(F + λI)x ≤ 0: the KL has no curvature along the step. More damping mends it."""
    LINE_SEARCH_EXHAUSTED = 3
    """No fraction of the step improved the surrogate within the trust region, or none can be told
    to be within it: see ``StepReport.kl_resolution``."""
    NON_FINITE = 4
    """NaN or infinity in the batch, the gradient or the step, or a KL or surrogate of NaN."""
    PROJECTED = 5
    """PPO with ``max_kl``: the update left the trust region and was drawn back to its edge."""


class StepReport(NamedTuple):
    """Everything there is to say about one step. KLs in nats; all measured on the whole batch."""

    outcome: Int[Array, ""]
    """An ``Outcome``, as its integer."""
    surrogate_before: Float[Array, ""]
    """E[r·Â] at the start."""
    surrogate_after: Float[Array, ""]
    """E[r·Â] at the returned θ."""
    kl: Float[Array, ""]
    """Exact mean KL(old‖new) at the returned θ."""
    kl_predicted: Float[Array, ""]
    """½ sᵀFs of the step s that was tried last: what the quadratic model says of its KL."""
    gain_predicted: Float[Array, ""]
    """gᵀs of the step that was tried last: what the linear model says of its gain."""
    gain_actual: Float[Array, ""]
    """The surrogate's improvement at the returned θ."""
    kl_tried: Float[Array, ""]
    """Mean KL(old‖new) of the step that was tried last, as measured."""
    gain_tried: Float[Array, ""]
    """The surrogate's improvement there."""
    step_scale: Float[Array, ""]
    """The factor on x that was applied; 0 where no step was taken."""
    backtracks: Int[Array, ""]
    """Reductions of the step by the line search."""
    damping_share: Float[Array, ""]
    """λxᵀx / xᵀ(F + λI)x: how much of the step's length the damping takes; NaN where the form is
    not positive."""
    cg_iterations: Int[Array, ""]
    """Fisher-vector products inside conjugate gradient."""
    cg_residual: Float[Array, ""]
    """‖g − (F + λI)x‖ / ‖g‖, true and not from the recurrence."""
    cg_status: Int[Array, ""]
    """A ``CGStatus``, as its integer."""
    gradient_norm: Float[Array, ""]
    """‖g‖ of the surrogate."""
    kl_resolution: Float[Array, ""]
    """The smallest ``max_kl`` that the numbers' precision can keep for this policy and batch; a
    smaller one is refused as LINE_SEARCH_EXHAUSTED. It grows with (|μ|/σ)²."""
