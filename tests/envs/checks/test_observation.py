"""What passes can be copied into an array of the space with no loss beyond rounding."""

from typing import Any

import numpy as np
import pytest
from environments import OBSERVATIONS
from gymnasium import spaces
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from klamp.envs.checks.observation import a_kind, check_sample
from klamp.errors import EnvironmentFault

TYPES = ["float16", "float32", "float64", "uint8", "int8", "int16", "int32", "int64", "bool"]


@pytest.mark.parametrize("kind", OBSERVATIONS)
def test_samples_of_a_space_pass(kind: str) -> None:
    space = OBSERVATIONS[kind]
    space.seed(0)
    for _ in range(20):
        assert check_sample(space, space.sample(), "here") == []


@given(
    found=st.sampled_from([*TYPES, "complex64", "uint64"]).flatmap(
        lambda kind: arrays.arrays(kind, (3,))
    ),
    dtype=st.sampled_from(TYPES[:-1]),
)
@settings(max_examples=300, deadline=None)
def test_what_passes_survives_the_copy(found: np.ndarray, dtype: str) -> None:
    kind = np.dtype(dtype).kind
    low, high = (-np.inf, np.inf) if kind == "f" else (np.iinfo(dtype).min, np.iinfo(dtype).max - 1)
    space = spaces.Box(low, high, (3,), dtype)
    try:
        check_sample(space, found, "here")
    except EnvironmentFault:
        return
    kept = np.empty(3, dtype)
    with np.errstate(over="ignore"):
        kept[:] = found
    if kind == "f":
        wide = np.asarray(found, np.float64)
        scale = np.abs(wide) * np.finfo(dtype).eps + np.finfo(dtype).smallest_subnormal
        assert np.all(np.abs(kept - wide) <= scale)
        assert np.all(np.isfinite(wide.astype(np.float32)))
    else:
        np.testing.assert_array_equal(kept, found)
        assert np.all(np.abs(kept.astype(np.float64)) < 2**31 + 1)


def test_leaving_a_box_is_odd_and_no_fault() -> None:
    space = spaces.Box(-1, 1, (3,), np.float32)
    assert check_sample(space, np.array([1 + 1e-7, -1, 0], np.float32), "here") == []
    (note,) = check_sample(space, np.array([0, 5, -3], np.float32), "here")
    assert "is 5.0 at index (1,), outside the bounds -1.0 to 1.0" in note
    assert "2 of 3 entries" in note


@pytest.mark.parametrize(
    ("value", "words"),
    [(None, "None"), ([1], "a list"), (3, "an int"), (np.ma.zeros(1), "a numpy.ma.MaskedArray")],
)
def test_kinds_in_words(value: Any, words: str) -> None:
    assert a_kind(value) == words
