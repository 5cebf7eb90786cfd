"""Checkpoints: one folder a step with tensors, state and a manifest of SHA-256 sums.

``step_000000001234/`` holds ``tensors.safetensors`` (every array of the training state, by its
path in the pytree), ``state.json`` and ``MANIFEST.json``. It is written under a temporary name,
synced, and renamed, so a folder with a step's name is complete. Nothing in it is code.
"""

import hashlib
import json
import re
import secrets
import shutil
from pathlib import Path
from typing import Any, TypeVar

import jax
import numpy as np
import safetensors
import safetensors.numpy

from klamp.errors import CheckpointError
from klamp.files import sync_folder, write_synced

FORMAT = 1
KEEP = 3
"""Checkpoints that stay; older ones are removed after the newest has been verified."""

_NAME = re.compile(r"step_(\d{12})")
_FILES = ("tensors.safetensors", "state.json")

Tree = TypeVar("Tree")


def tensors_of(tree: Any) -> dict[str, np.ndarray]:
    """Every leaf of a pytree as a numpy array, by its path."""
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {jax.tree_util.keystr(path): np.asarray(leaf) for path, leaf in leaves}


def restore_tensors(template: Tree, tensors: dict[str, np.ndarray], where: Path) -> Tree:
    """A tree like ``template`` with the saved leaves; names, shapes and dtypes must agree."""
    expected = tensors_of(template)
    if set(expected) != set(tensors):
        differing = sorted(set(expected) ^ set(tensors))
        raise CheckpointError(
            f"{where} does not fit the configuration of its run: the arrays {differing[:4]} are on "
            "one side only. It was saved with other settings; resume with its own config.json."
        )
    for name, array in expected.items():
        if array.shape != tensors[name].shape or array.dtype != tensors[name].dtype:
            raise CheckpointError(
                f"{where} does not fit the configuration of its run: {name} is "
                f"{tensors[name].dtype}{list(tensors[name].shape)}, expected "
                f"{array.dtype}{list(array.shape)}. Resume with the config.json it was saved with."
            )
    return jax.tree_util.tree_map_with_path(
        lambda path, _: tensors[jax.tree_util.keystr(path)], template
    )


def save_checkpoint(folder: Path, step: int, tree: Any, state: dict[str, Any]) -> Path:
    """Write the checkpoint of ``step`` below ``folder``; an existing one is left as it is."""
    folder.mkdir(parents=True, exist_ok=True)
    final = folder / f"step_{step:012d}"
    if final.exists():
        return final
    temporary = folder / f".tmp-{secrets.token_hex(8)}"
    temporary.mkdir()
    # A copy: safetensors writes the memory as it lies, and a view need not lie contiguously.
    arrays = {name: np.array(array, order="C") for name, array in tensors_of(tree).items()}
    contents = {
        "tensors.safetensors": safetensors.numpy.save(arrays),
        "state.json": json.dumps(state, indent=1, sort_keys=True).encode(),
    }
    manifest = {
        "format": FORMAT,
        "step": step,
        "files": {
            name: {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
            for name, data in contents.items()
        },
    }
    for name, data in contents.items():
        write_synced(temporary / name, data)
    write_synced(temporary / "MANIFEST.json", json.dumps(manifest, indent=1).encode())
    sync_folder(temporary)
    temporary.rename(final)
    sync_folder(folder)
    _prune(folder, final)
    return final


def _prune(folder: Path, newest: Path) -> None:
    """Remove all but the last checkpoints, once the newest has been read back."""
    verify(newest)
    for old in checkpoints(folder)[:-KEEP]:
        trash = folder / f".trash-{old.name}-{secrets.token_hex(4)}"
        old.rename(trash)
        shutil.rmtree(trash, ignore_errors=True)


def checkpoints(folder: Path) -> list[Path]:
    """The checkpoint folders, oldest first; anything whose name is not a step's is ignored."""
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if _NAME.fullmatch(path.name) and path.is_dir())


def verify(path: Path) -> None:
    """Raise ``CheckpointError`` unless every file is there with the size and sum it was given."""
    manifest = _read_manifest(path)
    for name in _FILES:
        file = path / name
        expected = manifest["files"].get(name, {})
        if not file.is_file() or file.is_symlink():
            raise CheckpointError(
                f"{path} is damaged: {name} is missing. Resume from an earlier checkpoint."
            )
        if file.stat().st_size != expected.get("bytes"):
            raise CheckpointError(
                f"{path} is damaged: {name} has {file.stat().st_size} bytes, expected "
                f"{expected.get('bytes')}. Resume from an earlier checkpoint."
            )
        found = hashlib.sha256(file.read_bytes()).hexdigest()
        if found != expected.get("sha256"):
            raise CheckpointError(
                f"{path} is damaged: {name} has the SHA-256 sum {found}, expected "
                f"{expected.get('sha256')}. Resume from an earlier checkpoint."
            )


def _read_manifest(path: Path) -> dict[str, Any]:
    """The manifest, checked for its form."""
    file = path / "MANIFEST.json"
    try:
        manifest = json.loads(file.read_bytes())
        usable = manifest["format"] == FORMAT and isinstance(manifest["files"], dict)
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise CheckpointError(
            f"{path} is no checkpoint: MANIFEST.json cannot be read ({type(error).__name__}: "
            f"{error}). Expected a folder `step_…` of a klamp run."
        ) from error
    if not usable:
        raise CheckpointError(
            f"{path} has the checkpoint format {manifest['format']!r}; this klamp reads {FORMAT}."
        )
    return manifest


def load_checkpoint(path: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """The tensors and the JSON state of one checkpoint, verified."""
    verify(path)
    try:
        tensors = safetensors.numpy.load((path / "tensors.safetensors").read_bytes())
        state = json.loads((path / "state.json").read_bytes())
    except (safetensors.SafetensorError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} cannot be read: {error}.") from error
    return tensors, state


def latest_checkpoint(folder: Path) -> Path:
    """The newest checkpoint below a run's folder; an error where there is none."""
    found = checkpoints(folder / "checkpoints")
    if not found:
        raise CheckpointError(
            f"{folder} holds no checkpoint. Expected a run's folder with `checkpoints/step_…` in "
            "it, such as `runs/CartPole-v1-ppo-0`."
        )
    return found[-1]
