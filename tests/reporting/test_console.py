"""Progress: lines where there is no terminal, a panel where there is one, nothing when quiet."""

import io
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from klamp.config.algorithms import PPO
from klamp.config.run import RunConfig
from klamp.config.settings import Settings
from klamp.reporting.console import Lines, console
from klamp.reporting.panel import RunPanel

CONFIG = RunConfig("CartPole-v1", PPO(), Settings(steps=1000, num_envs=2))
METRICS = {
    "step": 500,
    "update": 1,
    "return_mean": 21.5,
    "steps_per_second": 100.0,
    "length_mean": 21.5,
    "kl": 0.0123,
    "outcome": "ACCEPTED",
}
SUMMARY = METRICS | {"episodes": 7, "wall_s": 61.0, "compile_s": 1.5, "folder": "runs/x"}


def told(metrics: dict[str, Any]) -> Any:
    return SimpleNamespace(metrics=metrics, folder=Path("nowhere"))


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_lines_are_rationed() -> None:
    file, now = io.StringIO(), [0.0]
    lines = Lines(file, clock=lambda: now[0])
    lines.start(CONFIG, Path("runs/x"))
    lines.compiling()
    for now[0], step in ((20.0, 300), (20.5, 350), (21.9, 490), (22.0, 500)):
        lines.update(told(METRICS | {"step": step}))
    lines.finish(SUMMARY)
    said = file.getvalue().splitlines()
    assert said[1:] == [
        "compiling …",
        "step 300 · 100 steps/s · return 21.5 · KL 0.0123 · ACCEPTED",
        "step 500 · 100 steps/s · return 21.5 · KL 0.0123 · ACCEPTED · 5.0 s left",
        "Done.",
        "return: 21.5, the mean of the last 7 training episodes",
        "steps: 500 in 1 min 1 s (1.5 s of it compiling)",
        "see it act: klamp eval runs/x",
        "what happened: klamp explain runs/x",
        "beside others: klamp compare runs/x OTHER …",
    ]


def test_no_episode_has_ended_yet() -> None:
    file = io.StringIO()
    Lines(file).update(told(METRICS | {"return_mean": None}))
    assert "no episode has ended" in file.getvalue()


def test_a_terminal_gets_a_panel_and_gives_it_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    file = Terminal()
    panel = console(file)
    assert isinstance(panel, RunPanel)
    panel.start(CONFIG, Path("runs/x"))
    panel.update(told(METRICS))
    panel.finish(SUMMARY)
    panel.close()
    text = file.getvalue()
    assert "compiling …" in text
    assert "21.5, the mean of the last 7" in text
    assert isinstance(console(io.StringIO()), Lines)
    monkeypatch.setenv("TERM", "dumb")
    assert isinstance(console(file), Lines)


@pytest.mark.parametrize("folder", ["runs/[/x]", "a[bold]b", "[link=x]y[/link]", ":smile:"])
def test_names_are_shown_as_they_are(folder: str) -> None:
    """rich has a markup of its own, which a folder's name is not."""
    file = Terminal()
    panel = console(file)
    panel.start(CONFIG, Path(folder))
    panel.update(told(METRICS | {"outcome": folder}))
    panel.finish(SUMMARY | {"folder": folder})
    panel.close()
    assert " ".join(file.getvalue().split()).count(folder) >= 3


@pytest.mark.parametrize("kind", [io.StringIO, Terminal])
def test_the_first_refused_update_of_a_row_is_told_at_once(kind: type[io.StringIO]) -> None:
    file = kind()
    log = console(file)
    log.start(CONFIG, Path("runs/x"))
    exhausted = {"outcome": "LINE_SEARCH_EXHAUSTED"}
    spoilt = {"outcome": "NON_FINITE", "non_finite": "the reward\x1b is nan"}
    for number, odd in enumerate([{}, exhausted, exhausted, spoilt, {}, exhausted], 1):
        log.update(told(METRICS | {"update": number} | odd))
    log.finish(SUMMARY)
    text = file.getvalue()
    for number, what in ((2, "LINE_SEARCH_EXHAUSTED"), (6, "LINE_SEARCH_EXHAUSTED")):
        assert f"update {number} was refused ({what}); θ is as it was" in text
    assert "update 4 was refused (NON_FINITE, the reward\\x1b is nan)" in text
    assert text.count("was refused") == 3
