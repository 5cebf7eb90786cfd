"""The words in which a run is told."""

import pytest

from klamp.config.algorithms import PPO
from klamp.config.run import RunConfig
from klamp.config.settings import Settings
from klamp.reporting.format import closing, duration, heading, mostly_refused

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


def test_refused_updates_are_counted_and_a_run_of_them_is_not_done() -> None:
    def ends(refused: int, **more: str) -> str:
        return closing(SUMMARY | {"update": 4, "updates_refused": refused, **more})

    assert ends(0).startswith("Done: ")
    assert "refused" not in ends(0)
    assert ends(2).startswith("Done: ")
    assert "\n2 of 4 updates were refused; why: klamp explain runs/x\n" in ends(2)
    assert ends(3).startswith("Most updates were refused: ")
    assert ends(3, stopped="it is enough").startswith("Stopped (it is enough): ")
    assert mostly_refused(SUMMARY | {"update": 4, "updates_refused": 2}) is None
    told = mostly_refused(SUMMARY | {"update": 4, "updates_refused": 3, "folder": "a\x1bb"})
    assert told is not None
    assert told.isprintable()
    assert "3 of the 4 updates of a\\x1bb were refused" in told
