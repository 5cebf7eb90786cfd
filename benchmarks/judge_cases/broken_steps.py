"""What is broken on purpose in a trust-region step, to see that the judge would see it."""

from typing import Any


def _over(names: Any) -> None:
    """A region three tenths too large."""
    true = names.trust_region_step

    def broken(policy: Any, theta: Any, batch: Any, *, max_kl: Any, **more: Any) -> Any:
        return true(policy, theta, batch, max_kl=1.3 * max_kl, **more)

    names.trust_region_step = broken


def _moved(names: Any) -> None:
    """A refused step that is left applied, by a little."""
    true = names.trust_region_step

    def broken(policy: Any, theta: Any, batch: Any, **more: Any) -> Any:
        import jax.numpy as jnp

        new, report = true(policy, theta, batch, **more)
        return jnp.where(report.outcome == 0, new, jnp.nextafter(new, jnp.inf)), report

    names.trust_region_step = broken


def _averaged(names: Any) -> None:
    """A KL told that is averaged over dimensions."""
    true = names.trust_region_step

    def broken(*given: Any, **more: Any) -> Any:
        new, report = true(*given, **more)
        return new, report._replace(kl=report.kl / 2)

    names.trust_region_step = broken


def _reason(names: Any) -> None:
    """Every refusal is an exhausted line search."""
    true = names.trust_region_step

    def broken(*given: Any, **more: Any) -> Any:
        import jax.numpy as jnp

        new, report = true(*given, **more)
        return new, report._replace(outcome=jnp.where(report.outcome == 0, 0, 3))

    names.trust_region_step = broken


def _multiplied(names: Any) -> None:
    """Rows masked by a product."""
    true = names.trust_region_step

    def broken(policy: Any, theta: Any, batch: Any, **more: Any) -> Any:
        weight = 1 if batch.weight is None else batch.weight
        product = batch._replace(advantage=batch.advantage * weight, weight=None)
        return true(policy, theta, product, **more)

    names.trust_region_step = broken


PLANTS = {
    "δ exceeded": _over,
    "refused step left applied": _moved,
    "KL averaged over dimensions": _averaged,
    "wrong reason of a refusal": _reason,
    "masked by a product": _multiplied,
}
