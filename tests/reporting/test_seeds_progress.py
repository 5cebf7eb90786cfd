"""How far many runs are, in one line."""

import io

from klamp.config.algorithms import PPO
from klamp.config.run import RunConfig
from klamp.config.settings import Settings
from klamp.reporting.seeds_progress import Progress


def test_one_line_sums_all_runs_when_one_is_done() -> None:
    file = io.StringIO()
    settings = Settings(steps=1000, num_envs=2, rollout_length=64)
    progress = Progress(RunConfig("CartPole-v1", PPO(), settings), 2, file)
    progress.hear("update", 0, 500, 20.0)
    assert file.getvalue() == ""
    progress.hear("done", 1, 1000, 40.0)
    line = file.getvalue()
    assert "1 of 2 runs done" in line
    assert "step 1,500 of 2,000" in line
    assert "returns 30.0 (20.0 to 40.0)" in line
