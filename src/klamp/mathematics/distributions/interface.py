"""What every distribution offers, and the one direction in which divergences are named."""

from typing import Any, Protocol, TypeVar, runtime_checkable

from jaxtyping import Array, Float, PRNGKeyArray

D = TypeVar("D", bound="Distribution")


@runtime_checkable
class Distribution(Protocol):
    """What the trust region needs of a distribution; a pytree whose leaves are its parameters."""

    def noise(self, key: PRNGKeyArray, sample_shape: tuple[int, ...] = ()) -> Any:
        """Randomness for ``sample_from``, drawn without knowing the parameters' values."""
        ...

    def sample_from(self, noise: Any) -> Any:
        """The action that this noise leads to."""
        ...

    def sample(self, key: PRNGKeyArray) -> Any:
        """One action for each row of the batch."""
        ...

    def mode(self) -> Any:
        """The most probable action of each row."""
        ...

    def log_prob(self, action: Any) -> Float[Array, "*B"]:
        """Log π(action), in nats."""
        ...

    def entropy(self) -> Float[Array, "*B"]:
        """−E[log π], in nats."""
        ...

    def kl_to(self, other: Any) -> Float[Array, "*B"]:
        """KL(self‖other), in nats."""
        ...

    def fisher_metric(self, tangent: Any) -> Any:
        """M·tangent, with M the Fisher matrix in the distribution's own parameters."""
        ...


def kl_divergence(*, p: D, q: D) -> Float[Array, "*B"]:
    """KL(p‖q) = E_p[log p − log q] ≥ 0, in nats, one number a row.

    Keyword-only, because the two directions differ and no learning curve shows which was taken.
    The trust region of TRPO (arXiv:1502.05477, eq. 12) is ``kl_divergence(p=old, q=new)``.
    """
    return p.kl_to(q)
