"""The one direction in which divergences of distributions are named."""

from typing import TypeVar

from jaxtyping import Array, Float

from klamp.types import Distribution

D = TypeVar("D", bound=Distribution)


def kl_divergence(*, p: D, q: D) -> Float[Array, "*B"]:
    """KL(p‖q) = E_p[log p − log q] ≥ 0, in nats, one number per row.

    Keyword-only, because the two directions differ and no learning curve shows which was taken.
    The trust region of TRPO (arXiv:1502.05477, eq. 12) is ``kl_divergence(p=old, q=new)``.
    """
    return p.kl_to(q)
