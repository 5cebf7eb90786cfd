"""What a run left: the judge's own log of its environments, and its checkpoints."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from case import must
from safetensors.numpy import load_file


@dataclass(frozen=True)
class Experience:
    """[steps, environments]: every transition of a run, as the environments saw it."""

    seen: np.ndarray
    after: np.ndarray
    action: np.ndarray
    reward: np.ndarray
    terminated: np.ndarray
    truncated: np.ndarray
    weight: np.ndarray

    def part(self, begin: int, end: int) -> "Experience":
        """Some steps of all environments."""
        return Experience(*(getattr(self, name)[begin:end] for name in self.__dataclass_fields__))

    @property
    def ended(self) -> np.ndarray:
        """Where an episode ended."""
        return self.terminated | self.truncated


def of_log(folder: Path, steps: int, copies: int) -> Experience:
    """The experience of the copies that were trained on: those that took all the steps."""
    files = [
        [json.loads(line) for line in p.read_text().splitlines()] for p in sorted(folder.iterdir())
    ]
    whole = [lines for lines in files if sum(line[0] == "step" for line in lines) == steps]
    if whole and len(whole[-1][0]) == 3 and isinstance(whole[-1][0][1], list):
        return _vector(whole[-1])
    must(len(whole) >= copies, f"{len(whole)} of {copies} environments were stepped {steps} times")
    columns = [_single(lines) for lines in whole[-copies:]]
    return Experience(*(np.stack(parts, axis=1) for parts in zip(*columns, strict=True)))


def _single(lines: list[Any]) -> list[np.ndarray]:
    """One copy's columns."""
    rows, now = [], None
    for line in lines:
        if line[0] == "reset":
            now = line[2]
            continue
        _, action, seen, reward, terminated, truncated = line
        rows.append((now, seen, action, reward, terminated, truncated, 1.0))
        now = seen
    return [np.array(column) for column in zip(*rows, strict=True)]


def _vector(lines: list[Any]) -> Experience:
    """A vector form's columns; ``last`` is the true final observation of its rows."""
    rows, now = [], None
    for line in lines:
        if line[0] == "reset":
            now = line[2]
            continue
        _, action, seen, reward, terminated, truncated, last, counted = line
        rows.append((now, last, action, reward, terminated, truncated, counted))
        now = seen
    columns = [np.array(column) for column in zip(*rows, strict=True)]
    return Experience(*columns[:-1], weight=columns[-1].astype(float))


def episodes(folder: Path) -> list[tuple[float, int]]:
    """Return and length of every episode that ended, in whichever copy."""
    found = []
    for path in sorted(folder.iterdir()):
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        if not any(line[0] == "step" for line in lines):
            continue
        many = len(lines[0]) == 3 and isinstance(lines[0][1], list)
        seen = _vector(lines) if many else Experience(*(c[:, None] for c in _single(lines)))
        for n in range(seen.weight.shape[1]):
            begin = 0
            for t in np.flatnonzero(seen.ended[:, n]):
                part = slice(begin, t + 1)
                length = int(seen.weight[part, n].sum())
                found.append((float(seen.reward[part, n].sum()), length))
                begin = t + 1
    return found


@dataclass(frozen=True)
class Checkpoint:
    """Arrays of one checkpoint, by the last part of their names."""

    step: int
    update: int
    arrays: dict[str, np.ndarray]

    @property
    def theta(self) -> np.ndarray:
        """θ = [actor | encoder | critic], as stored."""
        return self.arrays["['state'].theta"]

    def moments(self, of: str) -> tuple[float, np.ndarray, np.ndarray]:
        """Count, mean and sum of squared deviations of a normaliser."""
        names = ("samples", "mean", "deviations")
        count, mean, deviations = (self.arrays[f"['state'].{of}_moments.{name}"] for name in names)
        return float(count), mean, deviations


def checkpoints(run: Path) -> list[Checkpoint]:
    """All checkpoints of a run, in order."""
    found = []
    for folder in sorted((run / "checkpoints").iterdir()):
        state = json.loads((folder / "state.json").read_text())
        arrays = load_file(folder / "tensors.safetensors")
        must(
            int(folder.name.removeprefix("step_")) == state["step"], f"{folder.name} holds {state}"
        )
        found.append(Checkpoint(state["step"], state["update"], arrays))
    return found


def sign(folder: Path) -> None:
    """Write the sums that agree with a checkpoint's files, as anybody can who may write there."""
    manifest = json.loads((folder / "MANIFEST.json").read_text())
    for name in manifest["files"]:
        data = (folder / name).read_bytes()
        manifest["files"][name] = {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    manifest.pop("sha256")
    whole = hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()
    (folder / "MANIFEST.json").write_text(json.dumps(manifest | {"sha256": whole}, indent=1))
