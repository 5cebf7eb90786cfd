"""How far many runs are, as lines where nobody looks."""

import io
from typing import Any

from klamp.config.algorithms import PPO
from klamp.config.run import RunConfig
from klamp.config.settings import Settings
from klamp.reporting.seeds_console import SeedsLines, SeedsQuiet, seeds_reporter
from klamp.reporting.seeds_progress import BEGUN, DONE, REFUSED, UPDATE, Progress

CONFIG = RunConfig("CartPole-v1", PPO(), Settings(steps=1000, num_envs=2, rollout_length=64))


def told(step: int, mean: float | None) -> dict[str, Any]:
    return {"step": step, "return_mean": mean}


def test_lines_name_sum_and_say_what_is_odd() -> None:
    file, now = io.StringIO(), [0.0]
    progress = Progress(CONFIG, [3, 4], clock=lambda: now[0])
    lines = SeedsLines(progress, file, clock=lambda: now[0])
    lines.start()
    lines.hear(BEGUN, 3, None)
    lines.hear(BEGUN, 4, None)
    for now[0], step in ((1.0, 100), (1.5, 150), (2.6, 260), (3.0, 300)):
        lines.hear(UPDATE, 3, told(step, 20.0))
    lines.hear(REFUSED, 4, "update 2 was refused")
    lines.hear(DONE, 4, told(1000, 40.0))
    lines.finish([("side by side", "klamp compare runs")])
    assert file.getvalue().splitlines() == [
        "CartPole-v1 · 2 seeds · 1,000 steps each",
        "compiling …",
        "0 of 2 runs done · step 260 of 2,000 · 100 steps/s · returns 20.0 (20.0 to 20.0) · 17 s "
        "left",
        "seed 4: update 2 was refused",
        "1 of 2 runs done · step 1,300 of 2,000 · 100 steps/s · returns 30.0 (20.0 to 40.0) · "
        "7.0 s left",
        "side by side: klamp compare runs",
    ]


def test_who_shows_it() -> None:
    progress = Progress(CONFIG, [0])
    assert isinstance(seeds_reporter(progress, None), SeedsQuiet)
    assert isinstance(seeds_reporter(progress, io.StringIO()), SeedsLines)
