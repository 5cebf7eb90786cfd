"""Replacing the run in a folder, where ``overwrite`` asks for it."""

import shutil
from pathlib import Path

from klamp.config.run import RunConfig
from klamp.errors import RunFolderError, shown
from klamp.runs.folder import LOCK, OWNER, choose_folder, folder_of

FILES = ("summary.json", "metrics.jsonl", "metrics.csv", "episodes.csv", "wandb.id", "checkpoints")
"""The files of a run and its logs, in the order in which they are removed."""

FOLDERS = ("videos", "tensorboard", "wandb", "set-aside-*")


def replaceable(config: RunConfig, out: str | Path | None) -> Path:
    """The folder that a run will get; an error where it holds more than a run.

    Nothing is removed before everything else that may fail was tried.
    """
    folder = folder_of(config, out)
    if not (folder / "config.json").exists():
        return choose_folder(config, out)
    own = {*_of_a_run(folder), folder / "config.json", folder / LOCK, folder / OWNER}
    others = [path.name for path in folder.iterdir() if path not in own and not _debris(path)]
    if others:
        raise RunFolderError(
            f"The run folder {folder} is not overwritten, since it holds {shown(sorted(others)[0])}"
            ", which is no file of a run. Move it to another place, or choose another folder with "
            "`out=…`."
        )
    return folder


def remove_run(folder: Path) -> None:
    """Remove a run; its `config.json` last, so that after a kill the rest is still a run."""
    for path in [*_of_a_run(folder), folder / "config.json"]:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def _of_a_run(folder: Path) -> list[Path]:
    """The files and folders of a run, except its `config.json`."""
    return [path for name in (*FILES, *FOLDERS) for path in folder.glob(name)]


def _debris(path: Path) -> bool:
    """Whether a file is a temporary file left by a kill."""
    return path.name.startswith(".") and path.suffix == ".tmp"
