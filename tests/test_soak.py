"""The soak's verdict: what it must see, what must not alarm it."""

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

FOLDER = Path(__file__).resolve().parents[1] / "benchmarks" / "reliability"
MB = 2**20


@pytest.fixture(scope="module")
def verdict() -> Iterator[Any]:
    sys.path.insert(0, str(FOLDER))
    try:
        yield importlib.import_module("soak_verdict")
    finally:
        sys.path.remove(str(FOLDER))


def samples(growth: Any, minutes: float = 30, noise_mb: float = 0.5, **counts: Any) -> list[dict]:
    """Readings each 10 s of a process of 600 MB that warms up, plus ``growth(hours)`` MB."""
    draw = np.random.default_rng(0)
    found = []
    for time_s in np.arange(10, 60 * minutes + 1, 10.0):
        garbage = draw.exponential(noise_mb)
        memory = 600 - 40 * np.exp(-time_s / 60) + garbage + growth(time_s / 3600)
        same = {"handles": 30, "worker_handles": 22, "threads": 16, "shared": 3}
        reading = {name: counts.get(name, lambda t, n=n: n)(time_s) for name, n in same.items()}
        found.append(
            {"time_s": time_s, "parent_rss": memory * MB, "spared_uss": 100.0 * MB} | reading
        )
    return found


def none(hours: float) -> float:
    return 0.0


def test_a_warm_up_and_garbage_are_no_leak(verdict: Any) -> None:
    found = verdict.judge(samples(none), "parent_rss")
    assert found.verdict == "steady"
    assert found.low <= found.slope <= found.high
    assert verdict.failures(samples(none), []) == []


@pytest.mark.parametrize("name", ["parent_rss", "spared_uss"])
@pytest.mark.parametrize("rate", [3.0, 50.0])
def test_a_leak_is_seen_and_measured(verdict: Any, name: str, rate: float) -> None:
    readings = samples(none)
    for each in readings:
        each[name] += rate * MB * each["time_s"] / 3600
    found = verdict.judge(readings, name)
    assert found.verdict == "grows"
    assert found.low <= rate <= found.high
    assert len(verdict.failures(readings, [])) == 1


def test_a_tenth_of_the_limit_does_not_alarm(verdict: Any) -> None:
    slow = samples(lambda hours: 0.1 * hours, noise_mb=1e-6)
    found = verdict.judge(slow, "parent_rss")
    assert found.low > 0
    assert found.high < verdict.LIMIT
    assert found.verdict == "steady"


def test_too_little_or_too_noisy_is_not_a_pass(verdict: Any) -> None:
    assert verdict.judge(samples(none, minutes=5), "parent_rss").verdict == "cannot tell"
    noisy = verdict.judge(samples(none, noise_mb=100), "parent_rss")
    assert noisy.verdict != "steady"


@pytest.mark.parametrize("name", ["handles", "worker_handles", "threads", "shared"])
def test_one_more_of_anything_fails(verdict: Any, name: str) -> None:
    late = samples(none, **{name: lambda time_s: 7 + (time_s > 1700)})
    assert len(verdict.failures(late, [])) == 1
    early = samples(none, **{name: lambda time_s: 7 + (time_s > 300)})
    assert verdict.failures(early, []) == []


def test_what_is_wrong_at_the_end_fails(verdict: Any) -> None:
    assert verdict.failures(samples(none), ["ended before its time"]) == ["ended before its time"]
