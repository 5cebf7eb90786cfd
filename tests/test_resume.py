"""Killed at any moment and gone on with, a run ends with the bytes of one never stopped.

``benchmarks/reliability/kills.py`` and ``controls.py`` do the same at length.
"""

import random
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks" / "reliability"))

from controls import trials
from kills import STEPS, torment
from lives import cases, processes

CASES = cases()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["PPO, CartPole, recurrent", "TRPO, HalfCheetah, normalised"])
def test_no_byte_differs_after_six_kills(name: str, tmp_path: Path) -> None:
    kills, ended, differing, unreadable = torment(
        processes(), CASES[name], STEPS, tmp_path, 6, random.Random(1)
    )
    assert kills >= 6
    assert ended >= 1
    assert (differing, unreadable) == (0, 0)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["PPO, CartPole", "TRPO, masks and Dict"])
def test_each_item_of_the_state_is_missed_when_dropped(name: str) -> None:
    noticed = trials(CASES[name])
    assert len(noticed) >= 12
    assert all(noticed.values()), noticed
