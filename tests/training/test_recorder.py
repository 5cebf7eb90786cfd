"""A run under way: what it has written after each iteration."""

import errno
import json
import os
import signal
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import klamp
import klamp.training.train
from klamp.errors import NonFiniteError, NotSaved
from klamp.evaluation.periodic import PeriodicEvaluation
from klamp.runs.checkpoint import latest_checkpoint, verify
from klamp.runs.manifest import Spent
from klamp.runs.metrics_log import read_metrics
from klamp.runtime.signals import Signals
from klamp.training.callbacks import Reporters
from klamp.training.iteration import Iteration, start
from klamp.training.recorder import Origin, RunRecorder
from klamp.training.refusals import REFUSALS
from klamp.training.state import TrainState

SETTINGS = klamp.Settings(
    num_envs=2, rollout_length=8, hidden_sizes=(4,), steps=48, checkpoint_interval=30
)
CONFIG = klamp.RunConfig("CartPole-v1", klamp.PPO(epochs=1, minibatch_size=16), SETTINGS)


def begun(config: klamp.RunConfig) -> tuple[Iteration, TrainState]:
    """A run before its first step, with the programs that an earlier one has compiled."""
    run, state = start(config)
    run.compile(state)
    return run, state


def steps_saved(folder: Path) -> list[str]:
    return sorted(path.name[-2:] for path in (folder / "checkpoints").glob("step_*"))


def test_lines_checkpoints_and_the_summary(tmp_path: Path) -> None:
    run, state = begun(CONFIG)
    running = RunRecorder(run, state, tmp_path, Reporters(), PeriodicEvaluation(run.config))
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
    running.compiled(1.5)
    result = running.finish()
    running.close()
    run.close()
    assert len(result.metrics) == len(counted) == len(read_metrics(tmp_path / "metrics.jsonl"))
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["compile_s"] == 1.5
    assert summary["step"] == counted[-1][0]
    assert result.unsaved is None
    step = counted[-1][0]
    last = latest_checkpoint(tmp_path)
    assert last.name == f"step_{step:012d}"
    assert verify(last).spent.compile_s == 1.5
    # By the thread of last resort, while the process is on its way out.
    stopped = running.stop(signal.SIGTERM)
    running.close()
    assert str(stopped).startswith(f"SIGTERM: saved at step {step}; go on with: klamp.resume(")
    assert stopped.code == 143


def test_a_run_gone_on_with_saves_nothing_at_its_start(tmp_path: Path) -> None:
    run, state = begun(CONFIG)
    running = RunRecorder(
        run,
        state,
        tmp_path,
        Reporters(),
        PeriodicEvaluation(run.config),
        Origin(0, Spent(), lambda: None),
    )
    assert not list(tmp_path.iterdir())
    running.close()
    run.close()


def full_disk(patch: pytest.MonkeyPatch) -> None:
    """From now on nothing reaches the disk."""

    def fsync(handle: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    patch.setattr(os, "fsync", fsync)


def test_a_stop_that_could_not_be_saved_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, state = begun(CONFIG)
    running = RunRecorder(run, state, tmp_path, Reporters(), PeriodicEvaluation(run.config))
    running.iterate(Signals())
    step = int(running.state.step)
    full_disk(monkeypatch)
    stopped = running.stop(signal.SIGTERM)
    assert str(stopped) == (
        f"SIGTERM: step {step} could NOT be saved (No space left on device); the last good one is "
        f"of step 0; go on with: klamp.resume('{tmp_path}')"
    )
    assert stopped.code == 74
    assert steps_saved(tmp_path) == ["00"]
    running.close()
    run.close()


def test_what_could_not_be_saved_is_tried_again_in_its_turn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = replace(SETTINGS, steps=1000, checkpoint_interval=64)
    run, state = begun(replace(CONFIG, settings=settings))
    running = RunRecorder(run, state, tmp_path, Reporters(), PeriodicEvaluation(run.config))
    full_disk(monkeypatch)
    told = {"outcome": "ACCEPTED"}
    steps: list[int] = []
    for step in range(16, 192, 16):
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            running.record(state._replace(step=np.asarray(step)), told, 1.0)
        steps += [step] * len(said)
    assert steps == [64, 128]
    with pytest.raises(NotSaved, match="3 in a row"):
        running.record(state._replace(step=np.asarray(192)), told, 1.0)
    running.close()
    run.close()


def test_a_run_that_ends_on_a_full_disk_has_its_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, state = begun(CONFIG)
    running = RunRecorder(run, state, tmp_path, Reporters(), PeriodicEvaluation(run.config))
    running.iterate(Signals())
    full_disk(monkeypatch)
    result = running.finish()
    assert result.unsaved is not None
    assert "No space left on device" in result.unsaved
    assert "the last good one is of step 0" in result.unsaved
    assert [line["update"] for line in result.metrics] == [1]
    assert result.summary["step"] == int(running.state.step)
    np.testing.assert_array_equal(result.policy.theta, running.state.theta)
    assert not (tmp_path / "summary.json").exists()
    running.close()
    run.close()


def test_what_a_run_took_goes_on_where_the_checkpoint_left_it(tmp_path: Path) -> None:
    run, state = begun(CONFIG)
    running = RunRecorder(
        run,
        state,
        tmp_path,
        Reporters(),
        PeriodicEvaluation(run.config),
        Origin(0, Spent(1000.0, 50.0), lambda: None),
    )
    running.compiled(2.0)
    running.iterate(Signals())
    result = running.finish()
    assert 1000 <= result.metrics[0]["time_s"] <= result.summary["wall_s"]
    assert result.summary["compile_s"] == 52.0
    assert verify(latest_checkpoint(tmp_path)).spent.wall_s >= 1000
    running.close()
    run.close()


def test_refusals_in_a_row_end_it(tmp_path: Path) -> None:
    run, state = begun(CONFIG)
    running = RunRecorder(run, state, tmp_path, Reporters(), PeriodicEvaluation(run.config))
    told = {"non_finite": "the gradient"}
    running.record(state._replace(refused=(REFUSALS - 1, 0)), told, 1.0)
    refused = state._replace(refused=(REFUSALS, 0), step=state.step + 16)
    with pytest.raises(NonFiniteError, match=f"{REFUSALS} updates .* gradient.*saved at step 16"):
        running.record(refused, told, 1.0)
    assert steps_saved(tmp_path)[-1] == "16"
    running.close()
    run.close()
