"""Checkpoints: one folder per step with tensors, state and a manifest of SHA-256 sums.

``step_000000001234/`` holds ``tensors.safetensors`` (every array of the training state, by its
path in the pytree), ``state.json`` and ``MANIFEST.json``. A folder with such a name is complete
(``checkpoint_write``), and verified before it is read. Nothing in it is code.
"""

import collections
import os
import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy

from klamp.errors import CheckpointError, KlampWarning, shown
from klamp.runs.bounded_read import Unreadable, first_bytes, parse_object, recognise, summed
from klamp.runs.manifest import Manifest, read_manifest

STATE_LIMIT = 2**20
"""Bytes that ``state.json`` may have."""

HEADER_LIMIT = 2**20
"""Bytes that the names and shapes of ``tensors.safetensors`` may take."""

_NAME = re.compile(r"step_[0-9]{12}")
TENSORS, STATE, MANIFEST = "tensors.safetensors", "state.json", "MANIFEST.json"


def checkpoints(folder: Path) -> list[Path]:
    """The checkpoint folders, oldest first."""
    return [path for path in named_as_steps(folder) if path.is_dir() and not path.is_symlink()]


def named_as_steps(folder: Path) -> list[Path]:
    """Entries with the name of a checkpoint, oldest first, whether they are folders or not."""
    if not os.path.isdir(folder):
        return []
    try:
        names = os.listdir(folder)
    except OSError as error:
        raise CheckpointError(
            f"{folder} cannot be read ({error.strerror}). Give yourself the right to read it."
        ) from error
    return sorted(folder / name for name in names if _NAME.fullmatch(name))


def later_than(folder: Path, step: int) -> list[Path]:
    """Entries with the name of a checkpoint of a later step, whole or not, oldest first."""
    names = os.listdir(folder) if os.path.isdir(folder) else []
    return sorted(folder / name for name in names if _NAME.fullmatch(name) and step_of(name) > step)


def step_of(name: str) -> int:
    """The step in the name of a checkpoint."""
    return int(name.removeprefix("step_"))


def verify(path: Path) -> Manifest:
    """The manifest; ``CheckpointError`` unless every file has the size and sum it was given."""
    try:
        manifest = _read_manifest(path)
        for name in manifest.files:
            collections.deque(_pieces(path, manifest, name), maxlen=0)
    except Unreadable as error:
        raise _damaged(path, error) from error
    return manifest


def _read_manifest(path: Path) -> Manifest:
    """The manifest of a folder that holds what it lists, and nothing else. Or ``Unreadable``."""
    if path.is_symlink():
        raise Unreadable("it is a symbolic link, which is not followed")
    manifest = read_manifest(path / MANIFEST)
    if f"step_{manifest.step:012d}" != path.name:
        raise Unreadable(f"{MANIFEST} is of step {manifest.step}, and the folder is {path.name}")
    if set(manifest.files) != {TENSORS, STATE}:
        raise Unreadable(f"{MANIFEST} lists {shown(sorted(manifest.files))}")
    extra = set(os.listdir(path)) - {TENSORS, STATE, MANIFEST}
    if extra:
        raise Unreadable(f"{shown(min(extra))} does not belong there")
    if manifest.files[STATE].size > STATE_LIMIT:
        raise Unreadable(f"{STATE} is said to have {manifest.files[STATE].size:,} bytes")
    return manifest


def _pieces(path: Path, manifest: Manifest, name: str) -> Iterator[bytes]:
    """One of the files, with the size and sum that the manifest says. Raises ``Unreadable``."""
    return summed(path / name, *manifest.files[name])


def _damaged(path: Path, error: Unreadable) -> CheckpointError:
    return CheckpointError(
        f"{path} is damaged or no checkpoint: {error}. Resume from an earlier checkpoint; "
        "the run's folder itself stands for the last one that is whole."
    )


def load_checkpoint(path: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """The tensors and the JSON state of one checkpoint, verified."""
    try:
        manifest = _read_manifest(path)
        state = parse_object(b"".join(_pieces(path, manifest, STATE)), STATE)
        return _arrays(b"".join(_pieces(path, manifest, TENSORS))), state
    except Unreadable as error:
        raise _damaged(path, error) from error


def _arrays(data: bytes) -> dict[str, np.ndarray]:
    """The arrays of a tensor file, whatever is in it. Raises ``Unreadable``."""
    header = int.from_bytes(data[:8], "little")
    if header > HEADER_LIMIT:
        raise Unreadable(f"{TENSORS} says that its header has {header:,} bytes")
    try:
        return safetensors.numpy.load(data)
    except (safetensors.SafetensorError, ValueError, TypeError, KeyError) as error:
        raise Unreadable(f"{TENSORS} cannot be read: {shown(str(error), 200)}") from error


def latest_checkpoint(folder: Path) -> Path:
    """The newest whole checkpoint of a run's folder; ``folder`` itself where it is a checkpoint.

    Each newer one that is damaged, or a link, is named in a ``KlampWarning``. A checkpoint that was
    asked for by its path is never replaced by another. Raises ``CheckpointError`` where none is
    whole.
    """
    if _NAME.fullmatch(folder.name) and os.path.exists(folder / MANIFEST):
        verify(folder)
        return folder
    problems: list[str] = []
    for path in reversed(named_as_steps(folder / "checkpoints")):
        try:
            verify(path)
        except CheckpointError as error:
            problems.append(str(error).split(". Resume from")[0])
            continue
        for problem in problems:
            warnings.warn(f"{problem}. {path.name} is taken instead.", KlampWarning, stacklevel=4)
        return path
    if problems:
        raise CheckpointError(
            f"{folder} holds no checkpoint that is whole: {'; '.join(problems)}. Nothing was begun "
            "anew; bring one back from a copy, or train another run."
        )
    raise CheckpointError(
        f"{folder} holds no checkpoint. Expected a run's folder with `checkpoints/step_…` in "
        f"it, such as `runs/CartPole-v1-ppo-0`{foreign(folder)}."
    )


def foreign(path: Path) -> str:
    """The kind of a file that was given in place of a folder, in words."""
    try:
        kind = recognise(first_bytes(path)) if os.path.isfile(path) else None
    except Unreadable:
        kind = None
    return "" if kind is None else f"; this is {kind}, which klamp does not read"
