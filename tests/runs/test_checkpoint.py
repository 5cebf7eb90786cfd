"""Checkpoints: verified, and never taken for something else."""

import errno
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from saved_states import state

from klamp.errors import CheckpointError, KlampWarning
from klamp.runs.checkpoint import (
    later_than,
    latest_checkpoint,
    load_checkpoint,
    step_of,
    verify,
)
from klamp.runs.checkpoint_write import save_checkpoint
from klamp.runs.folder import nothing_trained
from klamp.runs.tensors import restore_tensors


def test_what_is_saved_comes_back_bit_for_bit(tmp_path: Path) -> None:
    path = save_checkpoint(tmp_path, 1234, state(0.1), {"step": 1234})
    assert path.name == "step_000000001234"
    tensors, counters = load_checkpoint(path)
    back = restore_tensors(state(0.0), tensors, path)
    assert counters == {"step": 1234}
    np.testing.assert_array_equal(back.theta, state(0.1).theta)
    np.testing.assert_array_equal(back.moments[1], state(0.1).moments[1])
    assert back.moments[0].dtype == np.float64


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


def test_a_folder_that_may_not_be_read_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def listdir(path: Path) -> list[str]:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))

    save_checkpoint(tmp_path / "checkpoints", 1, state(1.0), {})
    monkeypatch.setattr(os, "listdir", listdir)
    with pytest.raises(CheckpointError, match=r"checkpoints cannot be read \(Permission denied\)"):
        latest_checkpoint(tmp_path)


def test_an_unknown_format_is_refused(tmp_path: Path) -> None:
    path = save_checkpoint(tmp_path, 1, state(1.0), {})
    manifest = json.loads((path / "MANIFEST.json").read_text())
    (path / "MANIFEST.json").write_text(json.dumps(manifest | {"format": 99}))
    with pytest.raises(CheckpointError, match="format"):
        verify(path)


def test_an_empty_folder_has_no_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no checkpoint"):
        latest_checkpoint(tmp_path)
