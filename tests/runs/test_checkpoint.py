"""Checkpoints: complete or absent, verified, pruned, and never taken for something else."""

import errno
import json
import os
import re
import resource
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from klamp.errors import CheckpointError, KlampWarning
from klamp.runs.atomic_write import write_synced
from klamp.runs.checkpoint import (
    checkpoints,
    later_than,
    latest_checkpoint,
    load_checkpoint,
    restore_tensors,
    save_checkpoint,
    step_of,
    verify,
)
from klamp.runs.folder import nothing_trained


class State(NamedTuple):
    theta: Any
    moments: tuple[Any, Any]


def state(value: float) -> State:
    return State(np.full(7, value, np.float32), (np.asarray(value), np.arange(6).reshape(2, 3).T))


def test_what_is_saved_comes_back_bit_for_bit(tmp_path: Path) -> None:
    path = save_checkpoint(tmp_path, 1234, state(0.1), {"step": 1234})
    assert path.name == "step_000000001234"
    tensors, counters = load_checkpoint(path)
    back = restore_tensors(state(0.0), tensors, path)
    assert counters == {"step": 1234}
    np.testing.assert_array_equal(back.theta, state(0.1).theta)
    np.testing.assert_array_equal(back.moments[1], state(0.1).moments[1])
    assert back.moments[0].dtype == np.float64


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


def test_the_last_whole_one_is_taken_and_the_damaged_are_named(tmp_path: Path) -> None:
    folder = tmp_path / "checkpoints"
    for step in (1, 2, 3):
        save_checkpoint(folder, step, state(step), {})
    (folder / f"step_{3:012d}" / "MANIFEST.json").unlink()
    flip(folder / f"step_{2:012d}" / "tensors.safetensors", -1)
    (folder / "step_999999999999").mkdir()
    with pytest.warns(KlampWarning) as said:
        assert latest_checkpoint(tmp_path).name == f"step_{1:012d}"
    told = " ".join(str(warning.message) for warning in said)
    assert len(said) == 3
    assert "step_999999999999 is damaged" in told
    assert "tensors.safetensors has the SHA-256 sum" in told
    assert "step_000000000001 is taken instead" in told
    # What was asked for by its path is not replaced by another.
    with pytest.raises(CheckpointError, match=r"tensors\.safetensors has the SHA-256 sum"):
        latest_checkpoint(folder / f"step_{2:012d}")
    assert latest_checkpoint(folder / f"step_{1:012d}").name == f"step_{1:012d}"
    # A damaged one of the same step makes way.
    save_checkpoint(folder, 2, state(2), {})
    verify(folder / f"step_{2:012d}")


@pytest.mark.parametrize("kind", ["link to a folder", "link to nothing", "file"])
def test_what_takes_the_place_of_a_checkpoint_is_named(kind: str, tmp_path: Path) -> None:
    """No older policy is used in silence; the link itself is not followed."""
    old = save_checkpoint(tmp_path / "checkpoints", 1, state(1), {})
    new = save_checkpoint(tmp_path / "elsewhere", 2, state(2), {})
    place = tmp_path / "checkpoints" / new.name
    if kind == "file":
        place.write_text("")
    else:
        place.symlink_to(new if kind == "link to a folder" else tmp_path / "nothing")
    with pytest.raises(CheckpointError, match=f"{new.name} is damaged or no checkpoint: "):
        load_checkpoint(place)
    with pytest.warns(KlampWarning, match=f"{new.name} is damaged .*{old.name} is taken instead"):
        assert latest_checkpoint(tmp_path) == old
    # Nor does a run begin anew where there is nothing else.
    shutil.rmtree(old)
    assert not nothing_trained(tmp_path)
    with pytest.raises(CheckpointError, match=f"no checkpoint that is whole: .*{new.name}"):
        latest_checkpoint(tmp_path)
    # It makes way for a checkpoint of its step.
    save_checkpoint(tmp_path / "checkpoints", 2, state(3), {})
    assert latest_checkpoint(tmp_path) == place
    assert verify(new).step == 2


def test_where_none_is_whole_all_are_named_and_nothing_begins_anew(tmp_path: Path) -> None:
    for step in (1, 2):
        path = save_checkpoint(tmp_path / "checkpoints", step, state(step), {})
        flip(path / "state.json", 0)
    with pytest.raises(CheckpointError, match=r"no checkpoint that is whole.*state.json.*state.js"):
        latest_checkpoint(tmp_path)


def flip(file: Path, offset: int) -> None:
    data = bytearray(file.read_bytes())
    data[offset] ^= 1
    file.write_bytes(data)


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


def test_later_ones_are_whatever_has_such_a_name(tmp_path: Path) -> None:
    for step in (1, 2, 3):
        save_checkpoint(tmp_path, step, state(step), {})
    (tmp_path / f"step_{4:012d}").write_text("no folder")
    (tmp_path / f"step_{5:012d}").symlink_to(tmp_path / f"step_{3:012d}")
    (tmp_path / "step_9").mkdir()
    assert [step_of(path.name) for path in later_than(tmp_path, 2)] == [3, 4, 5]
    assert not later_than(tmp_path / "none", 2)


FILES = ["tensors.safetensors", "state.json", "MANIFEST.json"]


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("damage", ["truncate", "remove", "empty", "append", "link", "foreign"])
def test_damage_is_named(name: str, damage: str, tmp_path: Path) -> None:
    path = save_checkpoint(tmp_path, 1, state(1.0), {"step": 1})
    file = path / name
    data = file.read_bytes()
    match damage:
        case "truncate":
            file.write_bytes(data[:-3])
        case "append":
            file.write_bytes(data + b"x")
        case "empty":
            file.write_bytes(b"")
        case "foreign":
            file.write_bytes(b"PK\x03\x04" + data[4:])
        case "link":
            file.rename(tmp_path / "elsewhere")
            file.symlink_to(tmp_path / "elsewhere")
        case _:
            file.unlink()
    with pytest.raises(CheckpointError, match=f"is damaged or no checkpoint: {name}"):
        load_checkpoint(path)


@pytest.mark.parametrize("name", FILES)
def test_one_flipped_bit_anywhere_is_noticed(name: str, tmp_path: Path) -> None:
    """Every byte of the small files; of the tensors, header, numbers and last byte."""
    path = save_checkpoint(tmp_path, 1, state(1.0), {"step": 1, "env": "CartPole-v1"})
    file = path / name
    whole = file.read_bytes()
    load_checkpoint(path)
    for offset in range(len(whole)):
        for bit in (0, 5):
            data = bytearray(whole)
            data[offset] ^= 1 << bit
            file.write_bytes(data)
            try:
                load_checkpoint(path)
            except CheckpointError:
                continue
            pytest.fail(f"bit {bit} of byte {offset} of {name} was flipped, and it was read")


def test_a_file_that_does_not_belong_there_is_named(tmp_path: Path) -> None:
    path = save_checkpoint(tmp_path, 1, state(1.0), {})
    (path / "extra.pkl").write_bytes(b"")
    with pytest.raises(CheckpointError, match=r"'extra\.pkl' does not belong there"):
        verify(path)


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

    monkeypatch.setattr("klamp.runs.checkpoint.write_synced", bad_disk)
    with pytest.raises(OSError, match=r"step_000000000004 is damaged") as caught:
        save_checkpoint(tmp_path, 4, state(4.0), {})
    assert caught.value.errno == errno.EIO
    assert [int(path.name[5:]) for path in checkpoints(tmp_path)] == [1, 2, 3]
    assert len(list(tmp_path.iterdir())) == 3


def test_a_folder_that_may_not_be_read_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def listdir(path: Path) -> list[str]:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))

    save_checkpoint(tmp_path / "checkpoints", 1, state(1.0), {})
    monkeypatch.setattr(os, "listdir", listdir)
    with pytest.raises(CheckpointError, match=r"checkpoints cannot be read \(Permission denied\)"):
        latest_checkpoint(tmp_path)


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


def test_another_shape_is_refused(tmp_path: Path) -> None:
    path = save_checkpoint(tmp_path, 1, state(1.0), {})
    tensors, _ = load_checkpoint(path)
    with pytest.raises(CheckpointError, match="does not fit"):
        restore_tensors(state(0.0)._replace(theta=np.zeros(8, np.float32)), tensors, path)
    wide = state(0.0)._replace(theta=np.zeros(7))
    with pytest.raises(CheckpointError, match=r"float32\[7\], expected float64\[7\].*precision"):
        restore_tensors(wide, tensors, path)
    with pytest.raises(CheckpointError, match="one side only"):
        restore_tensors((np.zeros(7),), tensors, path)


def test_an_unknown_format_is_refused(tmp_path: Path) -> None:
    path = save_checkpoint(tmp_path, 1, state(1.0), {})
    manifest = json.loads((path / "MANIFEST.json").read_text())
    (path / "MANIFEST.json").write_text(json.dumps(manifest | {"format": 99}))
    with pytest.raises(CheckpointError, match="format"):
        verify(path)


def test_an_empty_folder_has_no_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no checkpoint"):
        latest_checkpoint(tmp_path)


@pytest.mark.parametrize("what", ["SIGKILL at every call, the first*", "[nd]e*"])
def test_the_command_that_damages_checkpoints(what: str) -> None:
    """Processes that are killed in earnest; the command does the same at every bit and size."""
    command = Path(__file__).parents[2] / "benchmarks" / "reliability" / "damage.py"
    done = subprocess.run(
        [sys.executable, str(command), "--only", what], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
