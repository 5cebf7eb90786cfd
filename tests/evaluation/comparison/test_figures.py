"""Numbers in cells and at axes."""

import numpy as np
import pytest

from klamp.evaluation.comparison.figures import (
    between,
    count,
    duration,
    figure,
    round_ticks,
    share,
    tick_labels,
)


def test_cells() -> None:
    assert [figure(v) for v in (1234.56, None, np.nan, 1e100)] == [
        "1,234.6", "–", "–", "1.000e+100",
    ]  # fmt: skip
    assert (count(1e6), count(np.inf)) == ("1,000,000", "–")
    assert (between((1.0, 2.0)), between(None)) == ("1.0 … 2.0", "–")
    assert [share(v) for v in (0.0, 0.004, 0.5, 1.0)] == ["0 %", "0.4 %", "50 %", "100 %"]
    assert [duration(s) for s in (0.42, 59.6, 99.9, 100, 5999.4, 7261)] == [
        "0.4 s", "60 s", "1 min 40 s", "1 min 40 s", "99 min 59 s", "2 h 01 min",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("low", "high", "labels"),
    [
        (0, 100_000, ["0", "20k", "40k", "60k", "80k", "100k"]),
        (300, 1_050_000, ["0.2M", "0.4M", "0.6M", "0.8M", "1.0M"]),
        (0, 25_000_000, ["0", "5M", "10M", "15M", "20M", "25M"]),
        (0.001, 0.011, ["0.002", "0.004", "0.006", "0.008", "0.010"]),
        (-1, 1, ["-1.0", "-0.5", "0.0", "0.5", "1.0"]),
        (-0.12, 0.93, ["0.0", "0.2", "0.4", "0.6", "0.8"]),
        (437, 469, ["440", "445", "450", "455", "460", "465"]),
    ],
)
def test_ticks_are_round_and_within(low: float, high: float, labels: list[str]) -> None:
    ticks = round_ticks(low, high, 5)
    assert np.all((ticks >= low - 1e-9) & (ticks <= high + 1e-9))
    assert tick_labels(ticks) == labels


@pytest.mark.parametrize("size", [1e100, 1e20, 1e-300, 5e-324])
def test_ticks_of_any_size(size: float) -> None:
    for low, high in ((0.0, size), (-size, size), (size, size * 1.0001), (size, size)):
        labels = tick_labels(round_ticks(low, high, 5))
        assert len(labels) <= 12
        assert all(len(label) < 12 for label in labels)
