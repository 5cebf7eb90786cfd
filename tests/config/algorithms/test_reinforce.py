"""The settings of REINFORCE: refusals that name the field, and what is told of the algorithm."""

from typing import Any

import pytest

from klamp.config.algorithms import REINFORCE
from klamp.errors import ConfigError


@pytest.mark.parametrize("values", [{"baseline": "median"}, {"learning_rate": 0}], ids=str)
def test_what_cannot_work_is_refused(values: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(values))):
        REINFORCE(**values)


def test_without_a_value_the_return_is_left_as_it_is() -> None:
    implied = REINFORCE(baseline="none").traits.implied_settings
    assert implied == {"advantage_estimator": "return", "advantage_normalization": "off"}
    assert REINFORCE().traits.without_critic is None
    assert "baseline" in str(REINFORCE(baseline="batch-mean").traits.without_critic)
