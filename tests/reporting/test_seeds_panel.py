"""Many seeds on a terminal: a row each, whole at every width."""

import io
from typing import Any

import pytest

from klamp.config.algorithms import TRPO
from klamp.config.run import RunConfig
from klamp.config.settings import Settings
from klamp.reporting.format import together
from klamp.reporting.panel import terminal
from klamp.reporting.seeds_panel import SeedsPanel
from klamp.reporting.seeds_progress import BEGUN, DONE, FAILED, UPDATE, Progress

CONFIG = RunConfig("CartPole-v1", TRPO(), Settings(steps=100_000))


def told(step: int, mean: float | None) -> dict[str, Any]:
    return {
        "step": step,
        "update": 1,
        "return_mean": mean,
        "kl": 0.0123,
        "entropy": 0.6931,
        "explained_variance": 0.75,
        "steps_per_second": 12345.0,
        "updates_refused": 3,
    }


def panel_of(width: int, seeds: int, height: int = 40) -> SeedsPanel:
    panel = SeedsPanel(Progress(CONFIG, range(seeds)), io.StringIO())
    panel._console = terminal(io.StringIO())
    panel._console.size = (width, height)
    for n in range(60):
        panel.hear(UPDATE, 0, told(1000 * n, -1000.0 + n))
    panel.hear(BEGUN, 1, None)
    panel.hear(DONE, 2, told(100_000, 123.4))
    panel.hear(FAILED, 3, "its process was killed")
    return panel


def text_of(panel: SeedsPanel) -> str:
    return panel._console.file.getvalue()  # pyright: ignore


@pytest.mark.parametrize("width", [60, 80, 120])
def test_a_row_per_seed_and_nothing_is_cut(width: int) -> None:
    panel = panel_of(width, 5)
    panel._console.print(panel)
    text = text_of(panel)
    assert "seed 3: its process was killed" in text
    assert all(len(line) <= width for line in text.splitlines())
    assert "…" not in text
    rows = [line.strip("│ ").split() for line in text.splitlines() if line.startswith("│")]
    found = {row[0]: row[1:] for row in rows if row[0].isdigit()}
    assert found["0"][:2] == ["59%", "-941.0"]
    assert [found[seed][0] for seed in "1234"] == ["compiling", "done", "failed", "waiting"]
    assert found["0"][2][0] == "▁"
    assert found["0"][2][-1] == "█"
    assert found["0"][3:5] == ["0.0123", "0.693"]
    assert ("3" in found["0"][5:]) == (width >= 80)
    assert ("12,345" in found["0"]) == (width >= 120)
    assert "1 of 5 seeds done" in text


def test_many_seeds_fit_the_height_and_those_that_train_are_shown() -> None:
    panel = panel_of(80, 50, height=24)
    panel._console.print(panel)
    lines = text_of(panel).splitlines()
    assert len(lines) <= 24
    rows = [line.strip("│ ").split() for line in lines if line.startswith("│")]
    assert {"0", "1", "3"} <= {row[0] for row in rows}
    assert "1 of 50 seeds done · 34 not shown" in text_of(panel)


def test_all_of_them_stay_with_what_to_do_next() -> None:
    panel = panel_of(80, 50, height=24)
    panel.finish(together("runs/ten", ["runs/ten/seed-0"]))
    text = text_of(panel)
    assert sum(line.startswith("│") for line in text.splitlines()) == 52
    assert "returns -408.8 (-941.0 to 123.4)" in text
    assert "klamp compare runs/ten\n" in text
    assert "klamp eval runs/ten/seed-0\n" in text
