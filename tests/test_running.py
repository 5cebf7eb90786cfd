"""A run under way: what it has written after each iteration."""

import json
from pathlib import Path

import pytest

import klamp
from klamp.errors import NonFiniteError
from klamp.iteration import start
from klamp.metrics import read_metrics
from klamp.report import Silent
from klamp.running import REFUSALS, Running
from klamp.signals import Signals

SETTINGS = klamp.Settings(
    num_envs=2, rollout_length=8, hidden_sizes=(4,), steps=48, checkpoint_interval=30
)
CONFIG = klamp.RunConfig("CartPole-v1", klamp.PPO(epochs=1, minibatch_size=16), SETTINGS)


def steps_saved(folder: Path) -> list[str]:
    return sorted(path.name[-2:] for path in (folder / "checkpoints").glob("step_*"))


def test_lines_checkpoints_and_the_summary(tmp_path: Path) -> None:
    run, state = start(CONFIG)
    running = Running(run, state, tmp_path, Silent(), saved_at=None)
    assert steps_saved(tmp_path) == ["00"]
    counted = []
    while not running.done:
        running.iterate(Signals())
        counted.append((int(running.state.step), steps_saved(tmp_path)[-1]))
    # Rows that NEXT_STEP resets waste are not steps: at most one in eight here.
    assert all(12 * n <= step <= 16 * n for n, (step, _) in enumerate(counted, 1))
    assert {int(saved) for _, saved in counted if int(saved)} <= {step for step, _ in counted}
    assert counted[-1][1] != "00"
    running.state.theta.block_until_ready()
    result = running.finish(compile_s=1.5)
    running.close()
    run.close()
    assert len(result.metrics) == len(counted) == len(read_metrics(tmp_path / "metrics.jsonl"))
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["compile_s"] == 1.5
    assert summary["step"] == counted[-1][0]
    assert running.saved == f"saved at step {counted[-1][0]}"


def test_a_run_gone_on_with_saves_nothing_at_its_start(tmp_path: Path) -> None:
    run, state = start(CONFIG)
    running = Running(run, state, tmp_path, Silent(), saved_at=0)
    assert not (tmp_path / "checkpoints").exists()
    running.close()
    run.close()


def test_refusals_in_a_row_end_it(tmp_path: Path) -> None:
    run, state = start(CONFIG)
    running = Running(run, state, tmp_path, Silent(), saved_at=None)
    told = {"non_finite": "the gradient"}
    running.record(state._replace(refused=(REFUSALS - 1, 0)), told, 0.0)
    refused = state._replace(refused=(REFUSALS, 0), step=state.step + 16)
    with pytest.raises(NonFiniteError, match=f"{REFUSALS} updates in a row .* the gradient"):
        running.record(refused, told, 0.0)
    # Where it stands is known, to be saved by who catches this.
    assert int(running.state.step) == 16
    running.close()
    run.close()
