"""A disk that fails: warned of, tried again, and given up with the last good checkpoint intact."""

import errno
import os
from pathlib import Path
from typing import Any

import pytest

import klamp
from klamp.errors import NotSaved
from klamp.runs.checkpoint import checkpoints, latest_checkpoint
from klamp.runs.manifest import Spent
from klamp.runs.metrics_log import MetricsLog, read_metrics
from klamp.training.checkpointing import Saver, Standing
from klamp.training.iteration import start
from klamp.training.state import Boundary

SPENT = Spent(2.0, 1.0)
CONFIG = klamp.RunConfig(
    "CartPole-v1", klamp.PPO(), klamp.Settings(num_envs=2, rollout_length=8, hidden_sizes=(4,))
)


@pytest.fixture(scope="module")
def standing() -> Standing:
    run, state = start(CONFIG)
    position = run.position()
    run.close()
    return Standing(Boundary(state, position))


def later(standing: Standing, step: int) -> Standing:
    state, position = standing.boundary
    return Standing(Boundary(state._replace(step=state.step + step), position))


def test_a_full_disk_is_warned_of_and_tried_again(
    standing: Standing, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = MetricsLog(tmp_path / "metrics.jsonl")
    saver, works = Saver(CONFIG, tmp_path, log), True
    real = os.fsync

    def fsync(handle: int) -> None:
        if not works:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(handle)

    monkeypatch.setattr(os, "fsync", fsync)
    assert saver.save(standing, SPENT)
    works = False
    for failures in (1, 2):
        with pytest.warns(
            klamp.KlampWarning, match=f"{failures} in a row; the last good one is of step 0"
        ):
            assert not saver.save(later(standing, failures), SPENT)
    works = True
    assert saver.save(later(standing, 3), SPENT)
    works = False
    for failures in (1, 2):
        with pytest.warns(klamp.KlampWarning, match=f"{failures} in a row"):
            saver.save(later(standing, 3 + failures), SPENT)
    with pytest.raises(NotSaved, match="3 in a row; the last good one is of step 3"):
        saver.save(later(standing, 6), SPENT)
    assert latest_checkpoint(tmp_path).name == "step_000000000003"
    log.close()


def test_a_run_that_cannot_be_saved_at_all_does_not_begin(
    standing: Standing, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fsync(handle: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", fsync)
    log = MetricsLog(tmp_path / "metrics.jsonl")
    with pytest.raises(NotSaved, match="there is no checkpoint, and the run has stopped"):
        Saver(CONFIG, tmp_path, log).save(standing, SPENT)
    log.close()


def test_no_checkpoint_knows_of_lines_that_the_disk_did_not_take(
    standing: Standing, tmp_path: Path
) -> None:
    full = [True]

    def begin() -> None:
        if full[0]:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    log = MetricsLog(tmp_path / "metrics.jsonl", begin)
    saver = Saver(CONFIG, tmp_path, log, saved_at=0)
    with pytest.warns(klamp.KlampWarning, match="could not be written"):
        log.append({"update": 1})
    assert not saver.attempt(later(standing, 16), SPENT)
    assert saver.trouble == "No space left on device"
    assert not checkpoints(tmp_path / "checkpoints")
    full[0] = False
    assert saver.attempt(later(standing, 16), SPENT)
    assert (saver.trouble, saver.saved_at) == (None, 16)
    assert [line["update"] for line in read_metrics(tmp_path / "metrics.jsonl")] == [1]
    log.close()


def test_metrics_are_on_the_disk_before_the_checkpoint_that_knows_them(
    standing: Standing, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A power cut between the two must not leave a checkpoint of updates without their lines."""
    lines, synced = tmp_path / "metrics.jsonl", []
    lines.write_text('{"update": 1}\n')
    real = os.fsync

    def fsync(handle: int) -> None:
        synced.append(os.fstat(handle).st_ino)
        real(handle)

    monkeypatch.setattr(os, "fsync", fsync)
    log = MetricsLog(lines)
    assert Saver(CONFIG, tmp_path, log).save(standing, SPENT)
    log.close()
    assert synced[0] == lines.stat().st_ino
    made = [tmp_path, tmp_path / "checkpoints", latest_checkpoint(tmp_path)]
    made += list(latest_checkpoint(tmp_path).iterdir())
    assert {path.stat().st_ino for path in made} <= set(synced)


def test_a_run_on_a_full_disk_goes_on_until_it_is_in_vain(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every save after the first fails: two warnings, then the error."""
    real, saves = os.fsync, [0]

    def fsync(handle: int) -> None:
        if (tmp_path / "run" / "checkpoints" / "step_000000000000").exists():
            saves[0] += 1
            # The first is that of the folder which it has just appeared in.
            if saves[0] > 1:
                raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))
        real(handle)

    monkeypatch.setattr(os, "fsync", fsync)
    settings: dict[str, Any] = {"num_envs": 2, "rollout_length": 16, "hidden_sizes": (4,)}
    with (
        pytest.warns(klamp.KlampWarning, match="could not be written"),
        pytest.raises(NotSaved, match="3 in a row") as stopped,
    ):
        klamp.train(
            "CartPole-v1",
            klamp.PPO(epochs=1, minibatch_size=16),
            steps=160,
            checkpoint_interval=16,
            out=tmp_path / "run",
            quiet=True,
            **settings,
        )
    # What was trained is not lost to who calls this.
    reached = stopped.value.result
    assert reached.summary["update"] == len(reached.metrics) == 3
    monkeypatch.undo()
    result = klamp.resume(tmp_path / "run", quiet=True)
    assert result.summary["step"] >= 160
