"""Writing checkpoints: each is complete or absent; older ones are pruned.

A checkpoint is written under a temporary name, synced, renamed and read back, so a folder with a
step's name is complete whenever the process or the machine stops.
"""

import contextlib
import errno
import hashlib
import json
import os
import re
import secrets
import shutil
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import safetensors.numpy

from klamp.errors import CheckpointError
from klamp.runs.atomic_write import sync, write_synced
from klamp.runs.bounded_read import Unreadable
from klamp.runs.checkpoint import MANIFEST, STATE, TENSORS, checkpoints, verify
from klamp.runs.manifest import NOTHING_SPENT, FileFacts, Manifest, Spent, read_manifest
from klamp.runs.tensors import tensors_of
from klamp.runtime.provenance import fingerprint

KEEP = 3
"""The number of last checkpoints that stay, besides the best one and those with ``keep``."""

_DEBRIS = re.compile(r"\.(tmp|trash)-.*")


def save_checkpoint(
    folder: Path,
    step: int,
    tree: object,
    state: dict[str, Any],
    *,
    score: float | None = None,
    keep: bool = False,
    spent: Spent = NOTHING_SPENT,
    made_with: Mapping[str, str] = MappingProxyType({}),
) -> Path:
    """Write the checkpoint of ``step`` below ``folder``; a whole one of the same bytes stays.

    ``score`` is the policy's mean return: the checkpoint with the best one is never pruned.
    Checkpoints saved with ``keep=True`` are never pruned. ``spent`` is the time that the run has
    taken, and ``made_with`` what it was made with besides versions and machine. Older ones are
    removed after this one has been read back. Raises ``OSError`` where the disk does not take it,
    and then removes what it wrote.
    """
    if not folder.exists():
        folder.mkdir(parents=True)
        sync(folder.parent)
    final = folder / f"step_{step:012d}"
    # A copy: safetensors writes the memory as it lies, and a view need not lie contiguously.
    arrays = {name: np.array(array, order="C") for name, array in tensors_of(tree).items()}
    contents = {
        TENSORS: safetensors.numpy.save(arrays),
        STATE: json.dumps(state, indent=1, sort_keys=True).encode(),
    }
    files = {
        name: FileFacts(len(data), hashlib.sha256(data).hexdigest())
        for name, data in contents.items()
    }
    if _holds(final, files):
        return final
    facts = fingerprint() | dict(made_with)
    contents[MANIFEST] = Manifest(step, files, score, keep, facts, spent).to_json().encode()
    _remove_debris(folder)
    temporary, replaced = folder / f".tmp-{secrets.token_hex(8)}", _trash(final)
    temporary.mkdir()
    try:
        for name, data in contents.items():
            write_synced(temporary / name, data)
        sync(temporary)
        if os.path.lexists(final):
            final.rename(replaced)
        temporary.rename(final)
        sync(folder)
        _read_back(final)
    except OSError:
        _discard(temporary if temporary.exists() else final)
        if replaced.exists():
            replaced.rename(final)
        raise
    if replaced.exists():
        shutil.rmtree(replaced, ignore_errors=True)
    with contextlib.suppress(OSError):
        # What cannot be removed now is removed after a later checkpoint.
        _prune(folder, final)
    return final


def _read_back(new: Path) -> None:
    """Read what was written; ``OSError`` where the disk returns something else."""
    try:
        verify(new)
    except CheckpointError as error:
        raise OSError(errno.EIO, f"{os.strerror(errno.EIO)}: {error}", str(new)) from error


def _trash(path: Path) -> Path:
    return path.with_name(f".trash-{path.name}-{secrets.token_hex(4)}")


def _discard(path: Path) -> None:
    """Remove a folder, after a rename, so that none is ever incomplete under its name."""
    shutil.rmtree(path.rename(_trash(path)), ignore_errors=True)


def _remove_debris(folder: Path) -> None:
    """Remove what killed writers have left; only one process writes below a run's folder."""
    for path in folder.iterdir():
        if _DEBRIS.fullmatch(path.name) and path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)


def _prune(folder: Path, newest: Path) -> None:
    """Remove older checkpoints, once the newest has been read back."""
    known = {path: manifest for path in checkpoints(folder) if (manifest := _manifest(path))}
    scored = [path for path, manifest in known.items() if manifest.score is not None]
    best = max(scored, key=lambda path: (known[path].score or 0.0, path), default=newest)
    stay = {newest, best, *list(known)[-KEEP:]}
    stay |= {path for path, manifest in known.items() if manifest.keep}
    for old in set(known) - stay:
        _discard(old)


def _holds(path: Path, files: dict[str, FileFacts]) -> bool:
    """Whether a checkpoint is whole, and its files are these."""
    try:
        return verify(path).files == files
    except CheckpointError:
        return False


def _manifest(path: Path) -> Manifest | None:
    """The manifest, where it can be read."""
    try:
        return read_manifest(path / MANIFEST)
    except Unreadable:
        return None
