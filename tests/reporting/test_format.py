"""The words in which a run is told."""

import pytest

from klamp.config.algorithms import PPO
from klamp.config.run import RunConfig
from klamp.config.settings import Settings
from klamp.reporting.format import (
    closing,
    duration,
    ending,
    heading,
    mostly_refused,
    next_steps,
    number,
    together,
)

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
    said = closing(SUMMARY | {"stopped": hostile})
    said += [*next_steps(hostile), *together(hostile, [hostile]), *together(None, [hostile])]
    for text in (heading(CONFIG, hostile), *(text for pair in said for text in pair)):
        assert text.isprintable()


def test_a_command_can_be_copied_whatever_the_folder_is_called() -> None:
    assert next_steps("a b")[0] == ("see it act", "klamp eval 'a b'")
    assert together(None, ["a b", "c"])[0] == ("side by side", "klamp compare 'a b' c")


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "–"), (float("nan"), "–"), (-1234.56, "-1,234.6"), (0.0123, "0.0123"), (2e6, "2e+06")],
)
def test_numbers_read_well(value: float | None, text: str) -> None:
    assert number(value) == text


def test_refused_updates_are_counted_and_a_run_of_them_is_not_done() -> None:
    def ends(refused: int, **more: str) -> str:
        return ending(SUMMARY | {"update": 4, "updates_refused": refused, **more})

    assert (ends(0), ends(2), ends(3)) == ("Done", "Done", "Most updates were refused")
    assert ends(3, stopped="it is enough") == "Stopped"
    counted = closing(SUMMARY | {"update": 4, "updates_refused": 2, "stopped": "it is enough"})
    assert ("refused", "2 of 4 updates") in counted
    assert counted[0] == ("because", "it is enough")
    assert "refused" not in dict(closing(SUMMARY | {"update": 4, "updates_refused": 0}))
    # Why is the first thing to ask then.
    assert next_steps("x", refused=True)[0][1] == "klamp explain x"
    assert mostly_refused(SUMMARY | {"update": 4, "updates_refused": 2}) is None
    told = mostly_refused(SUMMARY | {"update": 4, "updates_refused": 3, "folder": "a\x1bb"})
    assert told is not None
    assert told.isprintable()
    assert "3 of the 4 updates of a\\x1bb were refused" in told
