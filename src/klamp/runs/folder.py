"""The folder of a run: made once, never overwritten, read back by `resume`, `eval`, `load`.

`config.json` (all that is needed to build the run again), `metrics.jsonl` (one line per update),
`summary.json` and `checkpoints/`.
"""

import contextlib
import json
import os
import platform
import re
from collections.abc import Generator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import filelock

from klamp.config.algorithms import AlgorithmConfig, short_name
from klamp.config.algorithms.own import module_of_algorithm
from klamp.config.environment_name import LANGUAGE, title_of
from klamp.config.run import Configuration, RunConfig
from klamp.errors import (
    CheckpointError,
    ConfigError,
    RunFolderError,
    resume_call,
    shown,
)
from klamp.runs.atomic_write import write_atomically
from klamp.runs.bounded_read import Unreadable, read_object
from klamp.runs.checkpoint import foreign, named_as_steps, verify
from klamp.runs.metrics_log import Metrics
from klamp.runs.trust import code_of, refuse_strange_code, signed
from klamp.runtime.importing import import_named

CONFIG_LIMIT = 2**20
"""Bytes that a `config.json` may have."""

LOCK, OWNER = ".lock", ".owner.json"
"""The file that is locked while a run trains, which names the process."""

_SEED = re.compile(r"seed-([0-9]{1,19})")
_DEBRIS = re.compile(r"\..*\.\d+\.tmp")


def folder_of(config: Configuration, out: str | Path | None) -> Path:
    """The folder of a run: ``out``, or `runs/ENVIRONMENT-ALGORITHM-SEED`."""
    env = title_of(config.env).replace(":", "-").replace("/", "-")
    name = f"{env}-{short_name(config.algorithm)}"
    return Path("runs") / f"{name}-{config.settings.seed}" if out is None else Path(out)


def choose_folder(config: Configuration, out: str | Path | None) -> Path:
    """The folder that a run will get; an error where it has content already."""
    folder = folder_of(config, out)
    if folder.exists() and (not folder.is_dir() or any(map(_matters, folder.iterdir()))):
        if not (folder / "config.json").exists():
            raise RunFolderError(
                f"{folder} cannot become a run's folder: it exists already, and holds no run. "
                "Choose another with `out=…`."
            )
        raise RunFolderError(
            f"The run folder {folder} exists already, and nothing in it was touched. Go on with it "
            f"by `{resume_call(folder)}`, put a new run in its place by `overwrite=True`, or give "
            "another `out=…` or `seed=…`."
        )
    return folder


def _matters(path: Path) -> bool:
    """Whether a file is not just a temporary file left by a kill."""
    return not (path.name in (LOCK, OWNER) or _DEBRIS.fullmatch(path.name))


def nothing_trained(folder: Path) -> bool:
    """Whether a run was stopped after its config was written and before its first checkpoint."""
    lines = folder / "metrics.jsonl"
    trained = named_as_steps(folder / "checkpoints") or (lines.exists() and lines.stat().st_size)
    return not trained


def begun(config: RunConfig, folder: Path) -> bool:
    """Whether a folder holds exactly that run; ``RunFolderError`` where it holds anything else."""
    if not (folder / "config.json").exists():
        choose_folder(config, folder)
        return False
    there = read_config(folder, type(config.algorithm)).to_dict()
    here = config.to_dict()
    if there != here:
        name = next(name for name in here | there if here.get(name) != there.get(name))
        raise RunFolderError(
            f"The run folder {folder} holds another run, and nothing in it was touched: `{name}` "
            f"is {shown(there.get(name))} there and {shown(here.get(name))} here. Give the "
            "settings that the folder has, to go on with it, or choose another with `out=…`."
        )
    return True


def result_of(config: RunConfig, folder: Path) -> Metrics | None:
    """The summary of a finished run, with its checkpoint; None where it is not finished."""
    try:
        summary = read_object(folder / "summary.json", CONFIG_LIMIT)
        last = verify(named_as_steps(folder / "checkpoints")[-1])
    except (Unreadable, CheckpointError, IndexError):
        return None
    ended = last.step >= config.settings.steps or "stopped" in summary
    return (
        summary if ended and summary.get("step") == last.step and "return_mean" in summary else None
    )


def runs_of_seeds(folder: Path) -> list[Path]:
    """The runs in a folder of seeds, by their numbers; none where it is no such folder."""
    if (folder / "config.json").exists():
        return []
    runs = [path.parent for path in folder.glob("seed-*/config.json")]
    return sorted(filter(_number, runs), key=_number)


def _number(run: Path) -> str:
    """The number of a seed's folder, so that 2 comes before 10; empty where it has none."""
    match = _SEED.fullmatch(run.name)
    return match[1].zfill(19) if match else ""


def run_of(folder: Path) -> Path:
    """The run's folder, of itself or of one of its checkpoints."""
    inside = folder.parent.name == "checkpoints" and not (folder / "config.json").exists()
    return folder.parent.parent if inside else folder


def write_config(folder: Path, config: Configuration) -> None:
    """`config.json`, with the version that wrote it, and signed where it names code."""
    data = {"klamp_version": version("klamp")} | config.to_dict()
    if code_of(data):
        data = signed(data)
    with _writable(folder):
        write_atomically(folder / "config.json", json.dumps(data, indent=1) + "\n")


def read_config(folder: Path, own_algorithm: type[Any] | None = None) -> RunConfig:
    """The configuration of a run's folder; nothing is imported to read it.

    ``own_algorithm`` is the class of a user's own algorithm, where no module holds it.
    """
    return RunConfig.from_dict(config_data(folder), own_algorithm)


def read_trusted_config(
    folder: Path,
    trust: bool,
    given: Sequence[str] = (),
    algorithm: AlgorithmConfig | None = None,
) -> RunConfig:
    """The same before its environment is made; ``ConfigError`` where that would run untrusted code.

    Code is trusted where this user's klamp wrote its name there, or with ``trust``; a module of
    registered environments or of an algorithm also where it is imported already. ``given`` says
    which of `environment`, `wrappers` and `network` the user gives again, so that their names are
    not used; ``algorithm`` is the run's own, where it is given again.
    """
    data = config_data(folder)
    refuse_strange_code(
        folder, data, trust, [*given, *(["algorithm"] if algorithm is not None else [])]
    )
    module = module_of_algorithm(data.get("algo"))
    if module is not None and algorithm is None:
        import_named(module, f"The algorithm {shown(data['algo'])} of {folder}")
    config = RunConfig.from_dict(data, None if algorithm is None else type(algorithm))
    if algorithm is not None and algorithm != config.algorithm:
        raise ConfigError(
            f"`algorithm` is {algorithm!r}, but {folder} was trained with {config.algorithm!r}. "
            "Give the run's own, or leave it out where it is one of klamp's."
        )
    return config


def of_language(folder: Path) -> bool:
    """Whether a run's folder, or that of one of its checkpoints, is of a language model."""
    return str(config_data(run_of(folder)).get("env")).startswith(LANGUAGE)


def config_data(folder: Path) -> dict[str, Any]:
    """The content of `config.json`, not checked yet."""
    path = folder / "config.json"
    if not os.path.exists(path):
        raise CheckpointError(
            f"{folder} is no run's folder: it has no config.json{foreign(folder)}. Expected one "
            "that klamp has made, such as `runs/CartPole-v1-ppo-0`."
        )
    try:
        return read_object(path, CONFIG_LIMIT)
    except Unreadable as error:
        raise ConfigError(
            f"The configuration {path} cannot be used: {error}. Bring back the one that klamp "
            "wrote."
        ) from error


@contextlib.contextmanager
def locked(folder: Path) -> Generator[None]:
    """Make a run's folder and lock it; ``RunFolderError`` names a process that has locked it.

    The system releases the lock when a process ends, however it ends.
    """
    lock = filelock.FileLock(folder / LOCK, timeout=0)
    try:
        with _writable(folder):
            folder.mkdir(parents=True, exist_ok=True)
            lock.acquire()
    except filelock.Timeout as error:
        raise RunFolderError(
            f"The run folder {folder} is being trained in by {_owner(folder)}. Wait for it, stop "
            "it, or choose another folder with `out=…`."
        ) from error
    try:
        with _writable(folder):
            owner = {"pid": os.getpid(), "host": platform.node()}
            write_atomically(folder / OWNER, json.dumps(owner))
        yield
    finally:
        with contextlib.suppress(OSError):
            (folder / OWNER).unlink(missing_ok=True)
        lock.release()


@contextlib.contextmanager
def _writable(folder: Path) -> Generator[None]:
    """Turn errors of the disk into one that says what to do."""
    try:
        yield
    except filelock.Timeout:
        raise
    except OSError as error:
        raise RunFolderError(
            f"The run folder {folder} cannot be written ({error.strerror or error}). Choose "
            "another with `out=…`."
        ) from error


def _owner(folder: Path) -> str:
    """The owner of the lock, as far as it is known."""
    try:
        owner = read_object(folder / OWNER, 4096)
        return f"process {owner['pid']} on {str(owner['host'])[:80]}"
    except (Unreadable, KeyError):
        return "another process"
