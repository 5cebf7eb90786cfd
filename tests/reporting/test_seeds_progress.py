"""How far many runs are."""

from typing import Any

from klamp.config.algorithms import PPO
from klamp.config.run import RunConfig
from klamp.config.settings import Settings
from klamp.reporting.seeds_progress import UPDATE, Progress

CONFIG = RunConfig("CartPole-v1", PPO(), Settings(steps=1000, num_envs=2, rollout_length=64))


def told(step: int, mean: float | None) -> dict[str, Any]:
    return {"step": step, "return_mean": mean}


def test_steps_of_earlier_lives_took_no_time() -> None:
    now = [0.0]
    progress = Progress(CONFIG, [0, 1], clock=lambda: now[0])
    progress.had(0, told(1000, 30.0))
    for now[0], step in ((10.0, 500), (11.0, 600), (12.0, 700)):
        progress.hear(UPDATE, 1, told(step, None))
    assert progress.summary() == (
        "1 of 2 runs done · step 1,700 of 2,000 · 100 steps/s · returns 30.0 (30.0 to 30.0) · "
        "3.0 s left"
    )
