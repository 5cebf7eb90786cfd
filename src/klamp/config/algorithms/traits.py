"""What the rest of a run must know of an algorithm, stated by its config."""

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
    and ``final_x`` is the value of ``x`` at the last step (None: it is constant). Everything else
    that the rest of a run should know is in an attribute ``traits``.
    """

    __dataclass_fields__: ClassVar[dict[str, Any]]


class Unused(NamedTuple):
    """Settings without effect, and the reason."""

    names: Sequence[str]
    why: str


@dataclass(frozen=True)
class Traits:
    """What the rest of a run must know of an algorithm; with the defaults where it has none."""

    critic: Literal["fit", "joint"] | None = None
    """How V is learned: by a fit of its own after the step (``critic_epochs`` and so on), or
    together with the policy; None: unknown, and no setting of the critic is refused."""
    without_critic: str | None = None
    """Why this configuration learns no V at all; None: it learns it."""
    whole_batch: bool = False
    """Whether the policy's step is taken on the whole batch, without minibatches."""
    implied_settings: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """Shared settings that this configuration decides, and their values."""
    implied_by: str = "the algorithm"
    """The part of it that decides them, in words."""
    unused: tuple[Unused, ...] = ()
    """Fields of the config that others of its fields leave without effect."""


def traits_of(algorithm: AlgorithmConfig) -> Traits:
    """The traits of an algorithm; the only place with the default."""
    return getattr(algorithm, "traits", Traits())


def joint_critic(value_coefficient: float) -> Traits:
    """Of an algorithm that descends the value loss together with the policy's."""
    without = "with a `value_coefficient` of 0 no critic is learned"
    return Traits(critic="joint", without_critic=None if value_coefficient > 0 else without)


def final_values(algorithm: AlgorithmConfig) -> dict[str, float]:
    """The final values of scheduled fields, by the names of the fields."""
    ends = {item.name: getattr(algorithm, item.name) for item in fields(algorithm)}
    return {
        name.removeprefix("final_"): end
        for name, end in ends.items()
        if name.startswith("final_") and is_number(end)
    }
