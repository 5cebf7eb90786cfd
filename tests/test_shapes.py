"""Shapes are checked as before: of parameters and of results, within and around functions."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import shapes
from jaxtyping import Float, TypeCheckError, jaxtyped
from shapes import checked

Row = Float[np.ndarray, " n"]
THREE, FOUR = np.zeros(3), np.zeros(4)


@jaxtyped(typechecker=checked)
def joined(a: Row, b: Row, *, how: str = "first", **more: int) -> Row:
    """``how`` says what comes back."""
    return {"first": a, "longer": np.concatenate([a, b])}[how]


def made(length: int = 1) -> Callable[..., Any]:
    @jaxtyped(typechecker=checked)
    def within(a: Row, repeats: int = length) -> Float[np.ndarray, "n k"]:
        return np.tile(a[:, None], repeats)[..., 0] if repeats < 0 else np.tile(a[:, None], repeats)

    return within


def test_what_is_right_passes() -> None:
    assert joined(THREE, THREE, more=1) is THREE
    assert made(2)(THREE).shape == (3, 2)


@pytest.mark.parametrize(
    "call",
    [
        lambda: joined(THREE, FOUR),
        lambda: joined(THREE, None),
        lambda: joined(THREE, THREE, how="longer"),
        lambda: joined(THREE, THREE, more="1"),
        lambda: made()(np.zeros((3, 3))),
        lambda: made(-1)(THREE),
        lambda: made()(THREE, 1.0),
    ],
)
def test_what_is_wrong_is_refused(call: Callable[[], Any]) -> None:
    with pytest.raises(TypeCheckError):
        call()


def test_a_function_within_another_has_one_checker_for_each_default(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(shapes, "_made", {})
    for length in (1, 2, 1, 2):
        assert made(length)(THREE).shape == (3, length)
    assert len(shapes._made) == 2
