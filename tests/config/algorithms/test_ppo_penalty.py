"""The settings of PPO with a penalty: refusals that name the field."""

from typing import Any

import pytest

from klamp.config.algorithms import PPOPenalty
from klamp.errors import ConfigError


@pytest.mark.parametrize("values", [{"target_kl": 0}, {"kl_coefficient": 0.0}], ids=str)
def test_what_cannot_work_is_refused(values: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(values))):
        PPOPenalty(**values)


def test_a_fixed_coefficient_may_be_zero() -> None:
    assert PPOPenalty(kl_coefficient=0.0, target_kl=None).kl_coefficient == 0
