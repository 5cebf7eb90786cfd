"""The words in which a run is told."""

import pytest

from klamp.config.algorithms import PPO
from klamp.config.run import RunConfig
from klamp.config.settings import Settings
from klamp.reporting.format import closing, duration, heading

CONFIG = RunConfig("CartPole-v1", PPO(), Settings(steps=1000, num_envs=2))
METRICS = {
    "step": 500,
    "return_mean": 21.5,
    "steps_per_second": 100.0,
    "kl": 0.0123,
    "outcome": "ACCEPTED",
}
SUMMARY = METRICS | {"episodes": 7, "wall_s": 61.0, "compile_s": 1.5, "folder": "runs/x"}


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.52, "0.5 s"), (12.3, "12 s"), (65, "1 min 5 s"), (7260, "2 h 1 min")],
)
def test_durations_read_well(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("below", "above", "before", "after"),
    [
        (9.94, 9.96, "9.9 s", "10 s"),
        (59.4, 59.7, "59 s", "1 min 0 s"),
        (119.4, 119.6, "1 min 59 s", "2 min 0 s"),
        (3599.4, 3599.6, "59 min 59 s", "1 h 0 min"),
        (7169.0, 7171.0, "1 h 59 min", "2 h 0 min"),
    ],
)
def test_a_duration_is_rounded_before_it_is_divided(
    below: float, above: float, before: str, after: str
) -> None:
    assert (duration(below), duration(above)) == (before, after)


def test_no_name_does_anything_to_a_terminal() -> None:
    hostile = "runs/\x1b[2J\nDone: mean return 500"
    for text in (heading(CONFIG, hostile), *closing(SUMMARY | {"folder": hostile}).splitlines()):
        assert text.isprintable()
    assert len(closing(SUMMARY | {"folder": hostile}).splitlines()) == 2
