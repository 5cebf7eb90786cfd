"""Checkpoints are complete or absent, whatever the disk does, and older ones are removed."""

import errno
import os
import re
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from saved_states import state

from klamp.runs.atomic_write import write_synced
from klamp.runs.checkpoint import (
    checkpoints,
    latest_checkpoint,
    load_checkpoint,
    verify,
)
from klamp.runs.checkpoint_write import save_checkpoint


def test_the_last_the_best_and_the_marked_stay(tmp_path: Path) -> None:
    folder = tmp_path / "checkpoints"
    for step, score in enumerate([None, 3.0, 9.0, 1.0, 9.0, 2.0, 4.0, float("nan")]):
        save_checkpoint(folder, step, state(step), {}, score=score, keep=step == 3)
    # Of two equally good ones the later.
    assert [int(path.name[5:]) for path in checkpoints(folder)] == [3, 4, 5, 6, 7]
    assert latest_checkpoint(tmp_path).name == f"step_{7:012d}"


def test_debris_is_ignored_and_that_of_writers_removed(tmp_path: Path) -> None:
    folder = tmp_path / "checkpoints"
    save_checkpoint(folder, 5, state(5), {})
    for debris in (
        "step_999999999999.tmp",
        "step_12",
        "checkpoint_temp",
        "step_000000000012 (copy)",
        "step_00000000001٢",
    ):
        (folder / debris).mkdir()
    for left in (".tmp-1234", ".trash-step_000000000001-12"):
        (folder / left).mkdir()
    assert [path.name for path in checkpoints(folder)] == [f"step_{5:012d}"]
    assert latest_checkpoint(tmp_path).name == f"step_{5:012d}"
    save_checkpoint(folder, 6, state(6), {})
    assert not [path for path in folder.iterdir() if path.name.startswith(".")]
    assert (folder / "checkpoint_temp").exists()


def test_the_same_state_is_not_written_again_and_another_replaces_it(tmp_path: Path) -> None:
    path = save_checkpoint(tmp_path, 1, state(1.0), {"update": 1})
    written = (path / "MANIFEST.json").stat().st_ino
    assert save_checkpoint(tmp_path, 1, state(1.0), {"update": 1}) == path
    assert (path / "MANIFEST.json").stat().st_ino == written
    for tree, counters in ((state(2.0), {"update": 1}), (state(2.0), {"update": 2})):
        save_checkpoint(tmp_path, 1, tree, counters)
        tensors, found = load_checkpoint(path)
        np.testing.assert_array_equal(tensors[".theta"], tree.theta)
        assert found == counters
    assert list(tmp_path.iterdir()) == [path]


def test_one_that_cannot_be_replaced_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save_checkpoint(tmp_path, 1, state(1.0), {})
    for call in range(1, 6):
        left = [call]

        def fails(handle: int, left: list[int] = left) -> None:
            left[0] -= 1
            if left[0] == 0:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", fails)
            with pytest.raises(OSError, match=re.escape(os.strerror(errno.ENOSPC))):
                save_checkpoint(tmp_path, 1, state(2.0), {})
        np.testing.assert_array_equal(load_checkpoint(path)[0][".theta"], state(1.0).theta)


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO])
def test_a_disk_that_fails_leaves_nothing_and_the_old_one(
    error: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_checkpoint(tmp_path, 1, state(1.0), {})
    # The fifth call syncs the parent, when all is in place.
    for call in range(1, 6):
        calls = [0]

        def fails(handle: int, call: int = call, calls: list[int] = calls) -> None:
            calls[0] += 1
            if calls[0] == call:
                raise OSError(error, os.strerror(error))

        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", fails)
            with pytest.raises(OSError, match=re.escape(os.strerror(error))):
                save_checkpoint(tmp_path, 2, state(2.0), {})
        assert [path.name for path in tmp_path.iterdir()] == [f"step_{1:012d}"]
        verify(tmp_path / f"step_{1:012d}")


def test_a_device_that_is_full_says_so() -> None:
    with pytest.raises(OSError, match=re.escape(os.strerror(errno.ENOSPC))):
        write_synced(Path("/dev/full"), b"x")


def test_a_file_that_may_not_grow_leaves_nothing_and_the_old_one(tmp_path: Path) -> None:
    """A limit of the system's own: what is written is cut off in the middle of a file."""
    save_checkpoint(tmp_path, 1, state(1.0), {})
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    for size in (0, 1, 100, 300):
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
        try:
            with pytest.raises(OSError, match=re.escape(os.strerror(errno.EFBIG))):
                save_checkpoint(tmp_path, 2, state(2.0), {})
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert [path.name for path in tmp_path.iterdir()] == [f"step_{1:012d}"]


def test_what_reads_back_otherwise_was_not_saved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for step in (1, 2, 3):
        save_checkpoint(tmp_path, step, state(step), {})

    def bad_disk(path: Path, data: bytes) -> None:
        write_synced(path, data[:-1] + bytes([data[-1] ^ 1]))

    monkeypatch.setattr("klamp.runs.checkpoint_write.write_synced", bad_disk)
    with pytest.raises(OSError, match=r"step_000000000004 is damaged") as caught:
        save_checkpoint(tmp_path, 4, state(4.0), {})
    assert caught.value.errno == errno.EIO
    assert [int(path.name[5:]) for path in checkpoints(tmp_path)] == [1, 2, 3]
    assert len(list(tmp_path.iterdir())) == 3


class Killed(BaseException):
    """Stands for SIGKILL: nothing after it runs but what the system does."""


def test_killed_at_any_call_to_the_disk_the_old_or_the_new_one_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before and after each call that writes, syncs, renames or removes, in turn."""
    names = ("open", "fsync", "rename", "replace", "mkdir", "rmdir", "unlink")
    real = {name: getattr(os, name) for name in names}
    outcomes: set[int] = set()
    killed = True
    moment = 0
    while killed:
        moment += 1
        root = tmp_path / str(moment)
        for step in (1, 2, 3):
            save_checkpoint(root / "checkpoints", step, state(step), {})
        left = [moment]

        def counted(name: str, left: list[int] = left) -> Any:
            def call(*args: Any, **options: Any) -> Any:
                for done in (False, True):
                    left[0] -= 1
                    if left[0] == 0:
                        raise Killed
                    result = None if done else real[name](*args, **options)
                    if not done:
                        kept = result
                return kept

            return call

        with monkeypatch.context() as patch:
            for name in names:
                patch.setattr(os, name, counted(name))
            # What cleans up after an error does not run after a kill.
            patch.setattr("shutil.rmtree", counted_removal(left))
            try:
                save_checkpoint(root / "checkpoints", 4, state(4), {})
                killed = False
            except Killed:
                pass
        latest = latest_checkpoint(root)
        outcomes.add(int(latest.name[5:]))
        tensors, _ = load_checkpoint(latest)
        np.testing.assert_array_equal(tensors[".theta"], state(int(latest.name[5:])).theta)
        # The next process goes on over what was left.
        save_checkpoint(root / "checkpoints", 5, state(5), {})
        assert len(checkpoints(root / "checkpoints")) == 3
    assert moment > 20
    assert outcomes == {3, 4}


def counted_removal(left: list[int]) -> Any:
    def remove(path: Path, ignore_errors: bool = False) -> None:
        for file in sorted(path.iterdir()):
            left[0] -= 1
            if left[0] == 0:
                raise Killed
            file.unlink()
        path.rmdir()

    return remove


@pytest.mark.compiles
@pytest.mark.parametrize("what", ["SIGKILL at every call, the first*", "[nd]e*"])
def test_the_command_that_damages_checkpoints(what: str) -> None:
    """Processes that are killed in earnest; the command does the same at every bit and size."""
    command = Path(__file__).parents[2] / "benchmarks" / "reliability" / "damage.py"
    done = subprocess.run(
        [sys.executable, str(command), "--only", what], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
