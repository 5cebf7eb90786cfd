"""The settings of A2C: refusals that name the field, and what is told of the algorithm."""

from typing import Any

import pytest

from klamp.config.algorithms import A2C
from klamp.config.algorithms.traits import Traits
from klamp.errors import ConfigError


@pytest.mark.parametrize(
    "values", [{"final_learning_rate": -1}, {"value_coefficient": float("nan")}], ids=str
)
def test_what_cannot_work_is_refused(values: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(values))):
        A2C(**values)


def test_the_critic_is_learned_with_the_policy_or_not_at_all() -> None:
    assert A2C().traits == Traits(critic="joint")
    assert A2C(value_coefficient=0.0).traits.without_critic is not None
