"""The panel of a run: everything is there, and whole, at every width."""

import io
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from klamp.config.algorithms import PPO, TRPO
from klamp.config.run import RunConfig
from klamp.config.settings import Settings
from klamp.reporting.panel import RunPanel, kl_bound, terminal
from klamp.runs.metrics_log import to_json

CONFIG = RunConfig("CartPole-v1", TRPO(max_kl=0.0123), Settings(steps=100_000))
WIDTHS = (40, 60, 80, 120, 200)
LONGEST = {"outcome": "LINE_SEARCH_EXHAUSTED", "entropy": -12.345678, "value_loss": 1.23456e-10}


def metrics(update: int, **more: Any) -> dict[str, Any]:
    return {
        "step": 2048 * update,
        "update": update,
        "return_mean": -1234.5 + update,
        "steps_per_second": 123456.0,
        "kl": 0.0118,
        "outcome": "ACCEPTED",
        "entropy": 0.6931,
        "explained_variance": -0.1234,
        "length_mean": 1000.0,
        "clip_fraction": 0.25,
        "value_loss": 123456.7,
        "effective_sample_size": 0.987,
        **more,
    }


def panel_of(width: int, updates: list[dict[str, Any]], folder: Path = Path("x")) -> RunPanel:
    panel = RunPanel(io.StringIO())
    panel._console = terminal(io.StringIO())
    panel._console.width = width
    panel._steps, panel._bound = 100_000, kl_bound(CONFIG)
    for each in updates:
        panel.update(SimpleNamespace(metrics=each, folder=folder))  # pyright: ignore
    return panel


def drawn(panel: RunPanel) -> str:
    panel._console.print(panel)
    return panel._console.file.getvalue()  # pyright: ignore


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("odd", [{}, LONGEST | {"eval_return_mean": math.nan}, {"kl": None}])
def test_nothing_is_cut(width: int, odd: dict[str, Any]) -> None:
    text = drawn(panel_of(width, [metrics(n) for n in range(1, 20)] + [metrics(20, **odd)]))
    assert all(len(line) <= width for line in text.splitlines())
    assert "…" not in text
    whole = " ".join(text.replace("│", " ").split())
    values = ["-1,214.5", "41%", "40,960 of 100,000", "≤ 0.0123", "/20 refused", "elapsed"]
    values += ["explained variance", "-0.1234", "episode length", "1000", "123,456"]
    values += [odd.get("outcome", "ACCEPTED"), "–" if "kl" in odd else "0.0118"]
    values += ["evaluation"] if "eval_return_mean" in odd else []
    for value in values:
        assert value in whole, value


def test_wider_is_richer() -> None:
    updates = [metrics(n) for n in range(1, 40)]
    narrow, usual, wide = (drawn(panel_of(width, updates)) for width in (60, 80, 120))
    blocks = [sum(text.count(block) for block in "▁▂▃▄▅▆▇█") for text in (narrow, usual, wide)]
    assert 0 < blocks[0] < blocks[1] < blocks[2]
    assert "effective samples" in wide
    assert "effective samples" not in usual


def test_a_run_that_goes_on_shows_its_course_from_the_beginning(tmp_path: Path) -> None:
    lines = [metrics(n, outcome="NON_FINITE" if n == 2 else "ACCEPTED") for n in range(1, 10)]
    (tmp_path / "metrics.jsonl").write_text("".join(to_json(line) + "\n" for line in lines))
    text = drawn(panel_of(80, [metrics(10)], tmp_path))
    assert "-1,224.5  ▁▂▃▃▄▅▆▆▇█" in " ".join(text.split("\n")).replace("   ", "  ")
    assert "1/10 refused" in text


@pytest.mark.parametrize("width", WIDTHS)
def test_what_stays_is_whole_and_its_commands_can_be_copied(width: int) -> None:
    panel = panel_of(width, [metrics(1)])
    folder = "runs/" + "long/" * 30
    more = {"episodes": 7, "wall_s": 61.0, "compile_s": 1.5, "eval_return_mean": 12.5}
    odd = {"updates_refused": 1, "stopped": "the mean return has reached 475", "folder": folder}
    panel.finish(metrics(20) | more | odd)
    text = panel._console.file.getvalue()  # pyright: ignore
    box = [line for line in text.splitlines() if line.startswith(("╭", "│", "╰"))]
    assert all(len(line) == width for line in box)
    whole = " ".join(text.replace("│", " ").split())
    for value in ("has reached 475", "-1,214.5", "last 7 training", "12.5 ± 0", "1 of 20 updates"):
        assert value in whole
    for command in (f"klamp eval {folder}", f"klamp explain {folder}", f"klamp compare {folder} O"):
        assert command in text


def test_the_kl_is_held_against_what_binds_it() -> None:
    settings = Settings()
    assert kl_bound(RunConfig("CartPole-v1", PPO(), settings)) == ("", None)
    assert kl_bound(RunConfig("CartPole-v1", PPO(max_kl=0.1), settings)) == ("≤", 0.1)
    assert kl_bound(RunConfig("CartPole-v1", PPO(target_kl=0.02), settings)) == ("target", 0.02)
