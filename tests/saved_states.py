"""A state as a run has it, for the tests of checkpoints."""

from typing import Any, NamedTuple

import numpy as np


class State(NamedTuple):
    theta: Any
    moments: tuple[Any, Any]


def state(value: float) -> State:
    """With a scalar, a vector, and a matrix that does not lie contiguously."""
    return State(np.full(7, value, np.float32), (np.asarray(value), np.arange(6).reshape(2, 3).T))
