"""The settings of NPG: refusals that name the field, and what is told of the algorithm."""

from typing import Any

import pytest

from klamp.config.algorithms import NPG
from klamp.config.algorithms.traits import Traits
from klamp.errors import ConfigError


@pytest.mark.parametrize("values", [{"max_kl": 0}, {"cg_iterations": 0}], ids=str)
def test_what_cannot_work_is_refused(values: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(values))):
        NPG(**values)


def test_the_step_is_of_the_whole_batch() -> None:
    assert NPG().traits == Traits(critic="fit", whole_batch=True)
