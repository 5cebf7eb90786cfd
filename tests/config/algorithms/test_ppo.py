"""The settings of PPO: refusals that name the field, and what is told of the algorithm."""

from typing import Any

import pytest

from klamp.config.algorithms import PPO
from klamp.errors import ConfigError


@pytest.mark.parametrize(
    "values",
    [
        {"dual_clip": 1},
        {"clip_upper": 0},
        {"value_clip": 0},
        {"max_kl": 0},
        {"final_learning_rate": 0.0, "adaptive_learning_rate": 0.01},
    ],
    ids=str,
)
def test_what_cannot_work_is_refused(values: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(values))):
        PPO(**values)


def test_one_epoch_has_none_after_it_to_stop() -> None:
    assert not PPO().traits.unused
    assert PPO(epochs=1).traits.unused[0].names == ("target_kl",)
