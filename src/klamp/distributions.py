"""All action distributions, by the name that users import them from."""

from klamp.mathematics.distributions import (
    Bernoulli,
    Categorical,
    DiagonalGaussian,
    Distribution,
    Joint,
    MultiCategorical,
    ScaledBeta,
    SquashedGaussian,
    kl_divergence,
)

__all__ = [
    "Bernoulli",
    "Categorical",
    "DiagonalGaussian",
    "Distribution",
    "Joint",
    "MultiCategorical",
    "ScaledBeta",
    "SquashedGaussian",
    "kl_divergence",
]
