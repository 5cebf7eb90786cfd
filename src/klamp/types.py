"""The four things that flow: ``Rollout`` → ``Batch`` → update → ``UpdateReport``.

Axes are named T (time), N (environments) and B = T·N (batch rows). All of them are pytrees. A
finished episode is described by an ``Episode``.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol, TypeAlias, runtime_checkable

import numpy as np
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

HostOrDevice = Array | np.ndarray
"""An array of the host or of the device."""

PyTree: TypeAlias = Any
"""Arrays in any structure of containers, or a single array, for which JAX has no type."""


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


@runtime_checkable
class Policy(Protocol):
    """A policy in mathematics: from parameters and inputs to a distribution."""

    def __call__(self, theta: PyTree, inputs: PyTree, /) -> Distribution:
        """One row per sample. ``theta`` is any pytree, a flat vector included."""
        ...


class Shared(NamedTuple):
    """A part of a batch's ``inputs`` that has no row of its own for each sample.

    Every other leaf of ``inputs`` has one row per sample; the row of a sample of weight 0 is
    replaced. Inputs that samples have in common (a prompt, a table, a temperature) are wrapped in
    ``Shared`` and reach the policy unchanged, still wrapped.
    """

    value: PyTree
    """Any pytree."""


class Inputs(NamedTuple):
    """A network's inputs, one row per sample. A field that is None is absent."""

    observation: Any
    """Observations, normalised if the run normalises them; one row per sample."""
    action_mask: Any = None
    """True where an action is allowed; shaped like the logits of the policy."""
    dropout_key: Any = None
    """Two uint32 per row: the counter from which this transition's dropout masks are drawn."""
    log_std: Any = None
    """One number per row: the scheduled log σ of the Gaussian, in nats, in place of a learned
    one."""
    hidden_state: PyTree = None
    """One per row: the hidden state of a recurrent network before this row."""
    episode_start: Any = None
    """True where a row begins an episode, so that the hidden state is reset before it."""


class Rollout(NamedTuple):
    """T steps of N environments, as they happened: raw observations, rewards and actions."""

    observation: Any
    """[T, N, …]: the observation before each action."""
    next_observation: Any
    """[T, N, …]: the true next observation, the final one where an episode ended."""
    action: Any
    """[T, N, …]: the action as sampled, before clipping to the bounds of the action space."""
    reward: Float[HostOrDevice, "T N"]
    """The environment's own reward."""
    terminated: Bool[HostOrDevice, "T N"]
    """The episode ended in a terminal state: its value is 0."""
    truncated: Bool[HostOrDevice, "T N"]
    """The episode was cut off (a time limit): its future is estimated by V(next_observation)."""
    weight: Float[HostOrDevice, "T N"] | None
    """1; 0 for rows that are not transitions (the reset row of NEXT_STEP autoreset). None where
    all rows are."""
    action_mask: Any = None
    """[T, N, …]: True where an action is allowed, where the environment gives masks."""
    dropout_key: Any = None
    """[T, N, 2]: see ``Inputs.dropout_key``."""
    log_std: Any = None
    """[T, N]: see ``Inputs.log_std``."""
    hidden_state: PyTree = None
    """[T, N, size]: see ``Inputs.hidden_state``."""
    episode_start: Any = None
    """[T, N]: see ``Inputs.episode_start``."""

    def transitions(self) -> np.ndarray:
        """[T, N]: which rows are transitions."""
        if self.weight is None:
            return np.ones(np.shape(self.reward), bool)
        return np.asarray(self.weight) > 0


class Reference(NamedTuple):
    """A policy that the trained one is kept close to, by a penalty in the loss."""

    distribution: Any
    """The reference's distribution of each sample's action, along the same axes as the samples."""
    coefficient: Float[Array, "*B"]
    """β ≥ 0 of each sample: the coefficient of KL(new‖reference), per nat."""


class Batch(NamedTuple):
    """Samples, ready for any update. The fields from ``value_target`` on may be None.

    The samples lie along the axes of ``advantage``, B: one axis of rows, or two, [S, A], of
    sequences and the places in each where an action may have been chosen. ``weight``, ``action``,
    ``old`` and the critic's fields begin with the same axes. The first axis is the unit of
    minibatches and of subsampling, and all that ``inputs`` must have in common with the others:
    those of a sequence may hold more than its actions (the tokens of a prompt).
    """

    inputs: PyTree
    """The policy's inputs; one row for each row, or sequence, of samples."""
    action: Any
    """The actions taken."""
    advantage: Float[Array, "*B"]
    """Â, as the surrogate uses it (standardised if so configured)."""
    old: Any
    """The distribution that chose the actions, along the same axes; or, where it is too large to be
    kept, ``Shared(recompute)``: ``recompute(inputs)`` gives it for any rows of the inputs, and is a
    pytree, such as ``jax.tree_util.Partial(model.distribution, theta)``."""
    weight: Float[Array, "*B"] | None = None
    """Non-negative; a sample of weight 0 does not exist. None: all have weight 1."""
    value_target: Any = None
    """Regression targets of the critic."""
    old_value: Any = None
    """V of the critic that computed the advantages."""
    reference: Reference | None = None
    """The reference that updates by gradient descent keep the policy close to."""

    def old_policy(self) -> Any:
        """The distribution that chose the actions, of all rows."""
        return self.old.value(self.inputs) if isinstance(self.old, Shared) else self.old


class UpdateReport(NamedTuple):
    """The report of every update, whatever the algorithm; over the whole batch, in nats."""

    outcome: Int[Array, ""]
    """An ``Outcome``, as its integer."""
    surrogate_before: Float[Array, ""]
    """E[r·Â] before the update."""
    surrogate_after: Float[Array, ""]
    """E[r·Â] after it."""
    kl: Float[Array, ""]
    """Exact mean KL(old‖new) after the update."""
    kl_max: Float[Array, ""]
    """The largest KL(old‖new) of any one sample."""
    entropy: Float[Array, ""]
    """Mean entropy of the new policy."""
    explained_variance: Float[Array, ""]
    """1 − Var[target − V] / Var[target], for the critic that computed the advantages."""
    value_loss: Float[Array, ""]
    """½ E[(V − target)²] after the update."""
    clip_fraction: Float[Array, ""]
    """The share of samples whose ratio left [1 − ε, 1 + ε]; ε = 0.2 where nothing is clipped."""
    ratio_max: Float[Array, ""]
    """The largest ratio π_new/π_old."""
    effective_sample_size: Float[Array, ""]
    """(Σr)²/(B·Σr²): the share of the batch that its importance weights leave; at most 1."""
    details: dict[str, Any]
    """Metrics of this algorithm only, by their names."""


class Update(NamedTuple):
    """What every algorithm's ``update`` returns."""

    theta: Float[Array, " n"]
    state: PyTree
    """The algorithm's own state: optimiser moments, coefficients."""
    outcome: Int[Array, ""]
    """An ``Outcome``, as its integer."""
    details: dict[str, Any]
    """Metrics of this algorithm only, by their names."""


class Episode(NamedTuple):
    """A training episode that has ended."""

    step: int
    """Environment steps of the run, of all environments, when it ended."""
    environment: int
    """The number of its environment, from 0."""
    seed: int | None
    """The seed that ``reset`` was given; None where it had none of its own."""
    total: float
    """Its return: undiscounted, raw rewards."""
    length: int
    """Environment steps."""
    terminated: bool
    """Whether it ended in a terminal state; False where it was truncated."""
    numbers: Mapping[str, float]
    """The numbers of its last info, by name."""
