"""Rewinding a run's folder to a checkpoint; what came later is moved aside."""

import contextlib
import itertools
import json
import os
import warnings
from pathlib import Path

from klamp.config.run import Configuration
from klamp.config.settings import BOOKKEEPING
from klamp.errors import KlampWarning
from klamp.runs.atomic_write import sync, write_atomically
from klamp.runs.checkpoint import later_than, step_of
from klamp.runs.folder import config_data, write_config
from klamp.runs.metrics_log import drop_metrics_after


def begin_line(folder: Path, step: int, update: int, config: Configuration, aside: Path) -> None:
    """Make a folder end at a checkpoint, for a run that goes on from there with ``config``.

    What came later is moved to ``aside``. A run calls this just before its first write. A kill at
    any call leaves the old run, complete or ended at an earlier checkpoint, or the new one:
    checkpoints are moved before the lines of their updates are cut.
    """
    later = later_than(folder / "checkpoints", step)
    if later:
        _set_aside(folder, later, aside)
    there = {key: value for key, value in config_data(folder).items() if key not in BOOKKEEPING}
    if there != json.loads(json.dumps(config.to_dict())):
        write_config(folder, config)
    drop_metrics_after(folder / "metrics.jsonl", update)
    if later:
        steps = ", ".join(f"{step_of(path.name):,}" for path in later)
        warnings.warn(
            f"{folder} goes on from step {step:,}. The checkpoints after it (step {steps}), and "
            f"the metrics up to them, are kept in {aside}, where no command looks for them.",
            KlampWarning,
            stacklevel=2,
        )


def aside_of(folder: Path) -> Path:
    """An unused name below a run's folder, for what is moved aside."""
    return next(
        path for n in itertools.count(1) if not (path := folder / f"set-aside-{n}").exists()
    )


def _set_aside(folder: Path, later: list[Path], aside: Path) -> None:
    """Move checkpoints and the summary away, the newest first; keep config and metrics there."""
    (aside / "checkpoints").mkdir(parents=True, exist_ok=True)
    for name in ("config.json", "metrics.jsonl"):
        if (folder / name).exists() and not (aside / name).exists():
            _keep(folder / name, aside / name)
    with contextlib.suppress(FileNotFoundError):
        (folder / "summary.json").rename(aside / "summary.json")
    for path in reversed(later):
        path.rename(aside / "checkpoints" / path.name)
    for changed in (aside / "checkpoints", aside, folder / "checkpoints", folder):
        sync(changed)


def _keep(path: Path, copy: Path) -> None:
    """The same content under a second name, which stays when the file is replaced by a rename."""
    try:
        os.link(path, copy)
    except OSError:  # file systems without hard links
        write_atomically(copy, path.read_bytes())
