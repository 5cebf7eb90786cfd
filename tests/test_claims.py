"""The claims' own arithmetic: what a collapse is, when intervals are apart, how figures read."""

import importlib
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

FOLDER = Path(__file__).resolve().parents[1] / "examples" / "claims"


@pytest.fixture(scope="module")
def ex() -> Any:
    sys.path.insert(0, str(FOLDER))
    try:
        yield importlib.import_module("experiment")
    finally:
        sys.path.remove(str(FOLDER))


def group(ex: Any) -> list[dict[str, Any]]:
    """A run that rose and fell, one that rose, one that never rose."""
    return [
        {"step": [10, 20, 30], "return_mean": [None, 400.0, 300.0], "final": 100.0},
        {"step": [10, 20, 30], "return_mean": [None, 100.0, 350.0], "final": 500.0},
        {"step": [10, 20, 30], "return_mean": [None, 20.0, 20.0], "final": 15.0},
    ]


def test_collapse_and_speed(ex: Any) -> None:
    runs = group(ex)
    np.testing.assert_array_equal(ex.bests(runs), [400, 500, 20])
    np.testing.assert_array_equal(ex.collapsed(runs), [True, False, False])
    np.testing.assert_array_equal(ex.steps_to(runs, 300), [20, 30, 30])
    np.testing.assert_array_equal(ex.areas(runs), [350, 225, 20])


def test_intervals(ex: Any) -> None:
    low, high = ex.mean([1.0, 2.0, 3.0]), ex.mean([7.0, 8.0, 9.0])
    assert low[1] <= low[0] == 2 <= low[2]
    assert ex.below(low, high)
    assert not ex.below(high, low)
    assert not ex.below(low, ex.mean([2.0, 3.0, 4.0]))


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.012345, "0.0123"), (123.456, "123"), (45678.9, "45,679"), (0.0, "0"), ("2 of 10",) * 2,
     ([5.0, 4.0, 6.5], "5.00 (4.00 to 6.50)")],
)  # fmt: skip
def test_figures_have_three_digits(ex: Any, value: Any, text: str) -> None:
    assert ex.show(value) == text


def test_a_run_is_made_once(ex: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ex, "CACHE", tmp_path)
    made: list[int] = []

    def measure() -> dict[str, Any]:
        made.append(1)
        return {"final": 1.5}

    assert ex.cached({"seed": 0}, measure) == ex.cached({"seed": 0}, measure) == {"final": 1.5}
    assert len(made) == 1
    ex.cached({"seed": 1}, measure)
    assert len(made) == 2


def test_the_page_has_what_the_results_say() -> None:
    page = (FOLDER.parents[1] / "docs" / "claims.md").read_text()
    results = json.loads((FOLDER.parents[1] / "docs" / "claims" / "results.json").read_text())
    for found in results.values():
        assert found["seeds"] >= 10
        assert found["held"] is all(found["parts"])
        assert found["rule"] in page
        assert found["summary"] in page
        assert (FOLDER.parents[1] / "docs" / "claims" / found["picture"]).stat().st_size < 60_000
