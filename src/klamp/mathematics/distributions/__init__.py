"""Action distributions: what a policy returns for a batch of inputs.

Each is a pytree of its parameters, with the batch in the leading axes, and offers the same seven
things: ``noise`` and ``sample_from`` (which together make ``sample``), ``mode``, ``log_prob``,
``entropy``, ``kl_to`` and ``fisher_metric``. Log-probabilities, entropies and divergences are in
nats and *summed* over action dimensions: a distribution over six joints has one KL divergence.
"""

from klamp.mathematics.distributions.bernoulli import Bernoulli as Bernoulli
from klamp.mathematics.distributions.beta import ScaledBeta as ScaledBeta
from klamp.mathematics.distributions.categorical import Categorical as Categorical
from klamp.mathematics.distributions.gaussian import DiagonalGaussian as DiagonalGaussian
from klamp.mathematics.distributions.interface import Distribution as Distribution
from klamp.mathematics.distributions.interface import kl_divergence as kl_divergence
from klamp.mathematics.distributions.joint import Joint as Joint
from klamp.mathematics.distributions.multicategorical import MultiCategorical as MultiCategorical
from klamp.mathematics.distributions.squashed import SquashedGaussian as SquashedGaussian
