"""Checkpoints: one folder per step with tensors, state and a manifest of SHA-256 sums.

``step_000000001234/`` holds ``tensors.safetensors`` (every array of the training state, by its
path in the pytree), ``state.json`` and ``MANIFEST.json``. It is written under a temporary name,
synced, and renamed, so a folder with a step's name is complete. Nothing in it is code.
"""

import collections
import contextlib
import errno
import hashlib
import json
import os
import re
import secrets
import shutil
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

import numpy as np
import safetensors
import safetensors.numpy

from klamp.errors import CheckpointError, KlampWarning, shown
from klamp.runs.atomic_write import sync, write_synced
from klamp.runs.bounded_read import Unreadable, first_bytes, parse_object, recognise, summed
from klamp.runs.manifest import NOTHING_SPENT, FileFacts, Manifest, Spent, read_manifest
from klamp.runtime.provenance import fingerprint

KEEP = 3
"""Last checkpoints that stay, besides the best one and those that are marked to be kept."""

STATE_LIMIT = 2**20
"""Bytes that ``state.json`` may have."""

HEADER_LIMIT = 2**20
"""Bytes that the names and shapes of ``tensors.safetensors`` may take."""

_NAME = re.compile(r"step_[0-9]{12}")
_DEBRIS = re.compile(r"\.(tmp|trash)-.*")
TENSORS, STATE, MANIFEST = "tensors.safetensors", "state.json", "MANIFEST.json"

Tree = TypeVar("Tree")


def tensors_of(tree: Any) -> dict[str, np.ndarray]:
    """Every leaf of a pytree as a numpy array, by its path."""
    import jax  # noqa: PLC0415 - `klamp explain` and `compare` read folders without it

    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {jax.tree_util.keystr(path): np.asarray(leaf) for path, leaf in leaves}


def restore_tensors(template: Tree, tensors: dict[str, np.ndarray], where: Path) -> Tree:
    """A tree like ``template`` with the saved leaves; names, shapes and dtypes must agree."""
    expected = tensors_of(template)
    if set(expected) != set(tensors):
        differing = sorted(set(expected) ^ set(tensors))
        raise CheckpointError(
            f"{where} does not fit the configuration of its run: the arrays "
            f"{shown(differing[:4], 300)} are on one side only. It was saved with other settings; "
            "resume with its own config.json."
        )
    for name, array in expected.items():
        found = tensors[name]
        if array.shape != found.shape or array.dtype != found.dtype:
            remedy = (
                "Resume with the config.json it was saved with."
                if array.shape != found.shape
                else "Its run was trained in another precision than klamp's, which it cannot go on "
                "from; train it anew."
            )
            raise CheckpointError(
                f"{where} does not fit the configuration of its run: {name} is "
                f"{found.dtype}{shown(list(found.shape))}, expected "
                f"{array.dtype}{list(array.shape)}. {remedy}"
            )
    import jax  # noqa: PLC0415 - as above

    return jax.tree_util.tree_map_with_path(
        lambda path, _: tensors[jax.tree_util.keystr(path)], template
    )


def save_checkpoint(
    folder: Path,
    step: int,
    tree: Any,
    state: dict[str, Any],
    *,
    score: float | None = None,
    keep: bool = False,
    spent: Spent = NOTHING_SPENT,
    made_with: Mapping[str, str] = MappingProxyType({}),
) -> Path:
    """Write the checkpoint of ``step`` below ``folder``; a whole one of the same bytes stays.

    ``score`` says how good the policy is: the best one stays. One that is to be ``keep``-t stays,
    too. ``spent`` is kept beside, and so is what it was ``made_with`` besides versions and machine.
    Older ones are removed after this one has been read back. Raises
    ``OSError`` where the disk does not take it, and leaves nothing of it then.
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
        # What cannot be removed now is removed after a later one.
        _prune(folder, final)
    return final


def _read_back(new: Path) -> None:
    """Read what was written; where the disk gives back something else, it is an ``OSError``."""
    try:
        verify(new)
    except CheckpointError as error:
        raise OSError(errno.EIO, f"{os.strerror(errno.EIO)}: {error}", str(new)) from error


def _trash(path: Path) -> Path:
    return path.with_name(f".trash-{path.name}-{secrets.token_hex(4)}")


def _discard(path: Path) -> None:
    """Remove a folder, by a rename first: none is ever there in parts."""
    shutil.rmtree(path.rename(_trash(path)), ignore_errors=True)


def _remove_debris(folder: Path) -> None:
    """What writers that were killed have left; only one process writes below a run's folder."""
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


def _manifest(path: Path) -> Manifest | None:
    """The manifest, where it can be read."""
    try:
        return read_manifest(path / MANIFEST)
    except Unreadable:
        return None


def checkpoints(folder: Path) -> list[Path]:
    """The checkpoint folders, oldest first."""
    return [path for path in named_as_steps(folder) if path.is_dir() and not path.is_symlink()]


def named_as_steps(folder: Path) -> list[Path]:
    """What has the name of a checkpoint, oldest first: a folder, or what takes its place."""
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
    """Whatever has the name of a checkpoint of a later step, whole or not, oldest first."""
    names = os.listdir(folder) if os.path.isdir(folder) else []
    return sorted(folder / name for name in names if _NAME.fullmatch(name) and step_of(name) > step)


def step_of(name: str) -> int:
    """The step that the name of a checkpoint tells."""
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


def _holds(path: Path, files: dict[str, FileFacts]) -> bool:
    """Whether a checkpoint is whole, and its files are these."""
    try:
        return verify(path).files == files
    except CheckpointError:
        return False


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
    """What a file is that was given in place of a folder."""
    try:
        kind = recognise(first_bytes(path)) if os.path.isfile(path) else None
    except Unreadable:
        kind = None
    return "" if kind is None else f"; this is {kind}, which klamp does not read"
