"""Progress: lines where there is no terminal, a panel where there is one, nothing when quiet."""

import io

import pytest

from klamp.config.algorithms import PPO
from klamp.config.run import RunConfig
from klamp.config.settings import Settings
from klamp.reporting.console import Lines, Panel, reporter
from klamp.reporting.format import closing, duration, heading
from klamp.reporting.reporter import Silent

CONFIG = RunConfig("CartPole-v1", PPO(), Settings(steps=1000, num_envs=2))
METRICS = {
    "step": 500,
    "return_mean": 21.5,
    "steps_per_second": 100.0,
    "kl": 0.0123,
    "outcome": "ACCEPTED",
}
SUMMARY = METRICS | {"episodes": 7, "wall_s": 61.0, "compile_s": 1.5, "folder": "runs/x"}


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_lines_are_rationed() -> None:
    file, now = io.StringIO(), [0.0]
    lines = Lines(file, clock=lambda: now[0])
    lines.start(CONFIG, "runs/x")
    for now[0] in (0.0, 0.5, 1.9, 2.1):
        lines.update(METRICS)
    lines.finish(SUMMARY)
    text = file.getvalue()
    assert text.count("step 500") == 2
    for part in ("100 steps/s", "return 21.5", "KL 0.0123", "ACCEPTED", "5.0 s left"):
        assert part in text
    assert "mean return 21.5 over the last 7 training episodes" in text
    assert "klamp eval runs/x" in text


def test_no_episode_has_ended_yet() -> None:
    file = io.StringIO()
    Lines(file).update(METRICS | {"return_mean": None})
    assert "return none yet" in file.getvalue()


def test_a_terminal_gets_a_panel_and_gives_it_back() -> None:
    file = Terminal()
    panel = reporter(file)
    assert isinstance(panel, Panel)
    panel.start(CONFIG, "runs/x")
    panel.update(METRICS)
    panel.finish(SUMMARY)
    panel.stop()
    assert "mean return 21.5" in file.getvalue()
    assert isinstance(reporter(io.StringIO()), Lines)


def test_silence(capsys: pytest.CaptureFixture[str]) -> None:
    silent = Silent()
    silent.start(CONFIG, "runs/x")
    silent.update(METRICS)
    silent.finish(SUMMARY)
    silent.stop()
    assert capsys.readouterr() == ("", "")


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


@pytest.mark.parametrize("folder", ["runs/[/x]", "a[bold]b", "[link=x]y[/link]", ":smile:"])
def test_names_are_shown_as_they_are(folder: str) -> None:
    """rich has a markup of its own, which a folder's name is not."""
    file = Terminal()
    panel = reporter(file)
    panel.start(CONFIG, folder)
    panel.update(METRICS | {"outcome": folder})
    panel.finish(SUMMARY | {"folder": folder})
    panel.stop()
    assert " ".join(file.getvalue().split()).count(folder) >= 3


def test_no_name_does_anything_to_a_terminal() -> None:
    hostile = "runs/\x1b[2J\nDone: mean return 500"
    for text in (heading(CONFIG, hostile), *closing(SUMMARY | {"folder": hostile}).splitlines()):
        assert text.isprintable()
    assert len(closing(SUMMARY | {"folder": hostile}).splitlines()) == 2
