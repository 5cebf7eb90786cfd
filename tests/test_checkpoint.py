"""Checkpoints: complete or absent, verified, pruned, and never taken for something else."""

import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from klamp.checkpoint import (
    KEEP,
    checkpoints,
    latest_checkpoint,
    load_checkpoint,
    restore_tensors,
    save_checkpoint,
    verify,
)
from klamp.errors import CheckpointError


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


def test_old_ones_are_removed_and_debris_is_ignored(tmp_path: Path) -> None:
    folder = tmp_path / "checkpoints"
    for step in range(6):
        save_checkpoint(folder, step, state(step), {})
    for debris in ("step_999999999999.tmp", "step_12", "checkpoint_temp", ".tmp-1234"):
        (folder / debris).mkdir()
    (folder / "step_999999999998").write_text("a file, not a folder")
    assert [path.name for path in checkpoints(folder)] == [
        f"step_{step:012d}" for step in range(6 - KEEP, 6)
    ]
    assert latest_checkpoint(tmp_path).name == f"step_{5:012d}"


def test_an_existing_checkpoint_is_not_written_again(tmp_path: Path) -> None:
    first = save_checkpoint(tmp_path, 1, state(1.0), {})
    before = (first / "tensors.safetensors").read_bytes()
    save_checkpoint(tmp_path, 1, state(2.0), {})
    assert (first / "tensors.safetensors").read_bytes() == before


@pytest.mark.parametrize("name", ["tensors.safetensors", "state.json", "MANIFEST.json"])
@pytest.mark.parametrize("damage", ["flip", "truncate", "remove", "empty"])
def test_damage_is_named(name: str, damage: str, tmp_path: Path) -> None:
    path = save_checkpoint(tmp_path, 1, state(1.0), {"step": 1})
    file = path / name
    data = bytearray(file.read_bytes())
    match damage:
        case "flip":
            data[len(data) // 2] ^= 1
            file.write_bytes(data)
        case "truncate":
            file.write_bytes(data[:-3])
        case "empty":
            file.write_bytes(b"")
        case _:
            file.unlink()
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(path)
    assert name in str(caught.value) or "damaged" in str(caught.value)


def test_another_shape_is_refused(tmp_path: Path) -> None:
    path = save_checkpoint(tmp_path, 1, state(1.0), {})
    tensors, _ = load_checkpoint(path)
    with pytest.raises(CheckpointError, match="does not fit"):
        restore_tensors(state(0.0)._replace(theta=np.zeros(8, np.float32)), tensors, path)
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
