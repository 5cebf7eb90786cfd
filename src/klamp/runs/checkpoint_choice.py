"""The choice of a run's checkpoint: the last one, the best one, or that of a step."""

from pathlib import Path

from klamp.config.validation import is_integer
from klamp.errors import CheckpointError, ConfigError, shown
from klamp.runs.bounded_read import Unreadable
from klamp.runs.checkpoint import MANIFEST, checkpoints, latest_checkpoint, step_of, verify
from klamp.runs.folder import run_of
from klamp.runs.manifest import read_manifest

Choice = int | str
"""`"last"`, `"best"`, or a step."""


def chosen_checkpoint(folder: Path, choice: Choice = "last") -> Path:
    """A whole checkpoint of a run: that of the highest score for `"best"`, or that of a step.

    A checkpoint's score is the mean return of its evaluation where the run evaluated itself while
    it trained (``eval_interval``), else that of the last 100 training episodes before it. Raises
    ``CheckpointError`` where there is no such checkpoint, or it is damaged: another never takes its
    place, except for `"last"`, as ``latest_checkpoint`` says.
    """
    if choice == "last":
        return latest_checkpoint(folder)
    known = checkpoints(run_of(folder) / "checkpoints")
    if choice == "best":
        scored = _scored(known)
        if not scored:
            raise CheckpointError(
                f"{folder} holds no checkpoint with a score, so none is the best: no episode had "
                "ended, and nothing was evaluated. Take `last`, or one of the steps "
                f"{_steps(known)}."
            )
        return _whole(max(scored)[1])
    if not is_integer(choice, 0):
        raise ConfigError(
            f"`checkpoint` is {shown(choice)}, but must be 'best', 'last', or the step of a "
            f"checkpoint, of which there are {_steps(known)}."
        )
    for path in known:
        if step_of(path.name) == choice:
            return _whole(path)
    raise CheckpointError(
        f"{folder} holds no checkpoint of step {choice:,}. Those there are of the steps "
        f"{_steps(known)}."
    )


def best_score(folder: Path, step: int) -> float | None:
    """The highest score among a run's checkpoints up to a step; None where none has one."""
    known = [path for path in checkpoints(folder / "checkpoints") if step_of(path.name) <= step]
    return max(_scored(known))[0] if _scored(known) else None


def _scored(known: list[Path]) -> list[tuple[float, Path]]:
    """The score and the path of each checkpoint that has one."""
    found: list[tuple[float, Path]] = []
    for path in known:
        try:
            score = read_manifest(path / MANIFEST).score
        except Unreadable:
            continue
        if score is not None:
            found.append((score, path))
    return found


def _whole(path: Path) -> Path:
    verify(path)
    return path


def _steps(known: list[Path]) -> str:
    """The steps of the checkpoints, in words."""
    return ", ".join(str(step_of(path.name)) for path in known) or "none"
