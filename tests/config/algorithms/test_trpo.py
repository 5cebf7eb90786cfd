"""The settings of TRPO: refusals that name the field, and what is told of the algorithm."""

from typing import Any

import pytest

from klamp.config.algorithms import TRPO
from klamp.errors import ConfigError


@pytest.mark.parametrize("values", [{"backtrack_ratio": 1.0}, {"max_backtracks": -1}], ids=str)
def test_what_cannot_work_is_refused(values: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(values))):
        TRPO(**values)


def test_a_step_that_is_not_shortened_has_no_use_for_the_ratio() -> None:
    assert not TRPO().traits.unused
    assert TRPO(max_backtracks=0).traits.unused[0].names == ("backtrack_ratio",)
