"""What the rest of a run must know of an algorithm, as its own config tells it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, Literal, NamedTuple, Protocol, runtime_checkable

from klamp.config.validation import is_number


@runtime_checkable
class AlgorithmConfig(Protocol):
    """The settings of one algorithm: a frozen dataclass.

    It is one of klamp's own, or a user's, which then has two methods (``klamp.algorithms``)::

        init(self, model, theta) -> state
        update(self, context, theta, state, batch) -> Update

    Two kinds of fields are known by their names: ``minibatch_size`` is checked against the batch,
    and ``final_x`` is where what is called ``x`` ends at the last step; None: it is constant.
    Whatever else the rest of a run should know is told by an attribute ``traits``.
    """

    __dataclass_fields__: ClassVar[dict[str, Any]]


class Unused(NamedTuple):
    """Settings without effect, and the reason."""

    names: Sequence[str]
    why: str


@dataclass(frozen=True)
class Traits:
    """What the rest of a run must know of an algorithm; the defaults hold where it says nothing."""

    critic: Literal["fit", "joint"] | None = None
    """How V is learned: by a fit of its own after the step (``critic_epochs`` and so on), or
    together with the policy; None: it is not told, and no setting of the critic is refused."""
    without_critic: str | None = None
    """Why this configuration learns no V at all; None: it learns it."""
    whole_batch: bool = False
    """Whether the policy's step is taken on the whole batch, without minibatches."""
    implied_settings: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """Shared settings that this configuration decides, and their values."""
    implied_by: str = "the algorithm"
    """What of it decides over them, in words."""
    unused: tuple[Unused, ...] = ()
    """Fields of the config that others of its fields leave without effect."""


def traits_of(algorithm: AlgorithmConfig) -> Traits:
    """What an algorithm tells of itself: the one place that knows what holds where it does not."""
    return getattr(algorithm, "traits", Traits())


def joint_critic(value_coefficient: float) -> Traits:
    """Of an algorithm that descends the value loss together with the policy's."""
    without = "with a `value_coefficient` of 0 no critic is learned"
    return Traits(critic="joint", without_critic=None if value_coefficient > 0 else without)


def final_values(algorithm: AlgorithmConfig) -> dict[str, float]:
    """What is scheduled over the run, by the name of what it changes, and where it ends."""
    ends = {item.name: getattr(algorithm, item.name) for item in fields(algorithm)}
    return {
        name.removeprefix("final_"): end
        for name, end in ends.items()
        if name.startswith("final_") and is_number(end)
    }
