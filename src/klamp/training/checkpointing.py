"""Saving a run on a disk that may be full: failed checkpoints are retried; three end it."""

import json
import threading
import warnings
from dataclasses import fields
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from klamp.config.run import Configuration, KeptSettings
from klamp.config.settings import BESIDE_SETTINGS, CheckpointSettings, EvaluationSettings
from klamp.errors import KlampWarning, NotSaved, resume_call
from klamp.runs.checkpoint import load_checkpoint
from klamp.runs.checkpoint_write import save_checkpoint
from klamp.runs.manifest import Spent
from klamp.runs.metrics_log import MetricsLog
from klamp.runs.tensors import restore_tensors
from klamp.training.state import Boundary, State

_NOT_LEARNT_BY = frozenset(
    {"steps", "schedule_steps", "vectorization", "step_limit_s"}
    | {item.name for group in (CheckpointSettings, EvaluationSettings) for item in fields(group)}
    | set(BESIDE_SETTINGS) - {"env_kwargs"}
)
"""Settings that may be others after a checkpoint without a word."""

FACT = 150
"""Letters of a setting's value that a checkpoint keeps."""


class Standing(NamedTuple):
    """Where a run stands after an update, and what is known of it that its state does not hold."""

    boundary: Boundary
    score: float | None = None
    """The mean return that the best checkpoint is chosen by; None where not known."""
    kept: bool = False
    """Whether its checkpoint is never pruned."""


def stays(settings: KeptSettings, step: int) -> bool:
    """Whether, by ``keep_checkpoint_every``, the checkpoint of this step is never pruned."""
    every = settings.keep_checkpoint_every
    return bool(every) and step // settings.checkpoint_interval % every == 0


def save(config: Configuration, standing: Standing, folder: Path, spent: Spent) -> Path:
    """A checkpoint of the whole state, and of where the environments stand."""
    state, position = standing.boundary
    step = int(state.step)
    counters = {"step": step, "update": int(state.update), "env": config.env}
    return save_checkpoint(
        folder / "checkpoints",
        step,
        {"state": state, "position": position.arrays()},
        counters,
        score=standing.score,
        keep=standing.kept,
        spent=spent,
        made_with=facts_of(config),
    )


def facts_of(config: Configuration) -> dict[str, str]:
    """The settings that what is learnt depends on, as text, by their names.

    A run may be given other steps; how often it is saved and evaluated changes nothing.
    """
    return {
        name: json.dumps(value)[:FACT]
        for name, value in config.to_dict().items()
        if name not in _NOT_LEARNT_BY
    }


def restore(fresh: State, path: Path) -> tuple[State, dict[str, np.ndarray]]:
    """The state saved at ``path``, in the structure of a fresh one, and the position beside it."""
    tensors, _ = load_checkpoint(path)
    parts: dict[str, dict[str, np.ndarray]] = {"state": {}, "position": {}}
    for name, tensor in tensors.items():
        part, _, rest = name.removeprefix("['").partition("']")
        parts.setdefault(part, {})[rest] = tensor
    position = {name[2:-2]: tensor for name, tensor in parts["position"].items()}
    return filled(fresh, parts["state"], path), position


def filled(fresh: State, tensors: dict[str, np.ndarray], where: Path) -> State:
    """A state of saved arrays; θ and the algorithm's own state are JAX's again."""

    def placed(path: tuple[Any, ...], leaf: np.ndarray) -> Any:
        return jax.device_put(leaf) if path[0].name in ("theta", "algorithm") else leaf

    return jax.tree_util.tree_map_with_path(placed, restore_tensors(fresh, tensors, where))


ATTEMPTS = 3
"""Checkpoints in a row that may fail to be written."""


class Saver:
    """Saves a run; the loop, and the thread that saves when the loop hangs, take turns."""

    def __init__(
        self, config: Configuration, folder: Path, log: MetricsLog, saved_at: int | None = None
    ) -> None:
        self._config, self._folder, self._log = config, folder, log
        self._turn = threading.Lock()
        self._failures = 0
        self.saved_at = saved_at
        """The step of the last whole checkpoint."""
        self.tried_at = saved_at or 0
        """The step of the last attempt."""
        self.trouble: str | None = None
        """Why the last attempt failed, where it did."""

    @property
    def last(self) -> str:
        """Which checkpoint the run can be resumed from."""
        if self.saved_at is None:
            return "there is no checkpoint"
        return f"the last good one is of step {self.saved_at:,}"

    def due(self, step: int) -> bool:
        """Whether ``checkpoint_interval`` asks for a checkpoint at this step."""
        interval = self._config.settings.checkpoint_interval
        return step // interval > self.tried_at // interval

    def attempt(self, standing: Standing, spent: Spent) -> bool:
        """Write the metrics, then a checkpoint; returns whether that worked."""
        with self._turn:
            self.tried_at = int(standing.boundary.state.step)
            try:
                self._log.sync()
                save(self._config, standing, self._folder, spent)
            except OSError as error:
                self._failures += 1
                self.trouble = error.strerror or str(error)
                return False
            self._failures, self.trouble = 0, None
            self.saved_at = self.tried_at
            return True

    def save(self, standing: Standing, spent: Spent) -> bool:
        """The same in the middle of a run: a failure is a warning, and the run continues.

        Raises ``NotSaved`` after ``ATTEMPTS`` failures in a row, and where there is no checkpoint
        at all: what was saved before is intact.
        """
        if self.attempt(standing, spent):
            return True
        what = (
            f"The checkpoint of step {int(standing.boundary.state.step):,} could not be written to "
            f"{self._folder} ({self.trouble}), {self._failures} in a row; {self.last}"
        )
        if self._failures >= ATTEMPTS or self.saved_at is None:
            raise NotSaved(
                f"{what}, and the run has stopped. Free some space there, then go on with "
                f"`{resume_call(self._folder)}`."
            )
        warnings.warn(
            f"{what}. The run goes on, and the next checkpoint is tried in its turn.",
            KlampWarning,
            stacklevel=3,
        )
        return False
