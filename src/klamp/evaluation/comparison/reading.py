"""Reading the runs of folders: bounded and checked, and continued as a run grows."""

import os
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from klamp.config.validation import is_integer, is_number
from klamp.errors import CheckpointError, shown
from klamp.runs.bounded_read import Unreadable, read_object
from klamp.runs.folder import CONFIG_LIMIT, run_of, runs_of_seeds
from klamp.runs.metrics_log import Metrics, MetricsTail
from klamp.runs.trust import SIGNATURE

LARGEST = 1e100
"""Numbers beyond it are refused: their sums and differences might not be finite."""

MOST_STEPS = 10**12
"""Steps that a run may have, as in a checkpoint's manifest."""

MOST_RUNS = 2_000
"""Runs that one comparison may have."""

WANTED = ("return_mean", "kl", "entropy", "explained_variance", "time_s")
OPTIONAL = ("eval_return_mean",)
"""Metrics that only some runs have."""

APART = ("seed", "klamp_version", SIGNATURE)
"""What may differ between the runs of one group."""


class Run(NamedTuple):
    """The data of one run that are compared."""

    folder: Path
    env: str
    algorithm: str
    config: dict[str, Any]
    """Its settings, without ``APART``."""
    seed: Any
    version: str
    """The version of klamp in `config.json`."""
    columns: dict[str, np.ndarray]
    """A number for each update, NaN where it has none: ``step`` (environment steps), ``time_s``
    (seconds), return, KL (nats) and so on, by their keys in `metrics.jsonl`."""
    ended: bool
    """Whether its summary is that of its last update."""
    written: float
    """When its metrics were last written to, in seconds since 1970."""

    @property
    def final(self) -> float:
        """The last mean return; NaN before the first episode has ended."""
        return float(self.columns["return_mean"][-1])


def runs_in(folder: Path) -> list[Path]:
    """The runs of a folder, which is a run, a folder of seeds, or a folder of these."""
    folder = run_of(folder)
    if os.path.lexists(folder / "config.json"):
        return [folder]
    if seeds := runs_of_seeds(folder):
        return seeds
    try:
        below = sorted(path for path in folder.iterdir() if path.is_dir())
    except OSError:
        return []
    return [
        run
        for path in below
        for run in ([path] if os.path.lexists(path / "config.json") else runs_of_seeds(path))
    ]


class RunReader:
    """Reads a run, and continues where it has grown."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._state: tuple[Any, ...] = ()
        self._run: Run | None = None
        self._begin_again()

    def _begin_again(self) -> None:
        self._tail = MetricsTail(self.folder / "metrics.jsonl")
        self._columns = {name: array("d") for name in ("step", *WANTED, *OPTIONAL)}

    def read(self) -> Run | None:
        """The run as it is now; None before its first update.

        Raises ``CheckpointError`` where a file of it is damaged.
        """
        names = ("config.json", "metrics.jsonl", "summary.json")
        state = tuple(_stamp(self.folder / name) for name in names)
        if state != self._state:
            try:
                self._run = self._read()
            except (Unreadable, _Unusable, OSError) as error:
                raise CheckpointError(
                    f"{self.folder} cannot be compared: {error}. Expected the folder of a run, "
                    "with config.json and metrics.jsonl in it as klamp wrote them. Leave "
                    "it out to compare the others."
                ) from error
            self._state = state
        return self._run

    def _read(self) -> Run | None:
        config = read_object(self.folder / "config.json", CONFIG_LIMIT)
        env, algorithm = (_name(config, name) for name in ("env", "algo"))
        if not os.path.lexists(self.folder / "metrics.jsonl"):
            return None
        self._read_on()
        step = self._columns["step"]
        if not step:
            return None
        return Run(
            folder=self.folder,
            env=env,
            algorithm=algorithm,
            config={key: value for key, value in config.items() if key not in APART},
            seed=config.get("seed"),
            version=str(config.get("klamp_version", "unknown")),
            columns={name: np.array(values) for name, values in self._columns.items()},
            ended=self._summary_step() == step[-1],
            written=(self.folder / "metrics.jsonl").lstat().st_mtime,
        )

    def _read_on(self) -> None:
        """Read the new lines of `metrics.jsonl`; all of them again where lines were cut."""
        if self._tail.was_cut():
            self._begin_again()
        try:
            for line in self._tail.new():
                self._take(line)
        except (CheckpointError, _Unusable):
            self._begin_again()
            raise

    def _take(self, line: Metrics) -> None:
        steps = self._columns["step"]
        before = int(steps[-1]) if steps else 0
        step = line.get("step", "nothing")
        if not is_integer(step, before) or step >= MOST_STEPS:
            raise _Unusable(f"metrics.jsonl has {shown(step)} as `step` after {before}")
        numbers = {name: _number(line, name, "metrics.jsonl") for name in WANTED}
        numbers |= {
            name: _number(line, name, "metrics.jsonl") if name in line else np.nan
            for name in OPTIONAL
        }
        # A machine's clock may be set back, but the time of a plot must not decrease.
        times = self._columns["time_s"]
        numbers["time_s"] = max(times[-1] if times else 0.0, np.nan_to_num(numbers["time_s"]))
        steps.append(step)
        for name, value in numbers.items():
            self._columns[name].append(value)

    def _summary_step(self) -> Any:
        """The step that `summary.json` is of; None where the run has not written it."""
        path = self.folder / "summary.json"
        if not os.path.lexists(path):
            return None
        summary = read_object(path, CONFIG_LIMIT)
        step = summary.get("step", "nothing")
        if not is_integer(step, 0):
            raise _Unusable(f"summary.json has {shown(step)} as `step`")
        return step


class _Unusable(ValueError):
    """The content of a file cannot be compared."""


def read_runs(folders: list[Path]) -> tuple[list[Run], list[str]]:
    """The runs of all folders, each once, and what was passed over, in sentences.

    Raises ``CheckpointError`` where a run is damaged: without it the comparison would not be the
    one asked for.
    """
    paths: dict[str, Path] = {}
    notes, again = list[str](), list[Path]()
    for folder in folders:
        found = runs_in(folder)
        if not found:
            notes.append(f"{folder} was passed over: {_why_none(folder)}.")
        for path in found:
            if (real := os.path.realpath(path)) in paths:
                again.append(path)
            paths.setdefault(real, path)
    if len(paths) > MOST_RUNS:
        raise CheckpointError(
            f"{len(paths):,} runs cannot be compared at once, at most {MOST_RUNS:,}. Name fewer."
        )
    read = {path: RunReader(path).read() for path in paths.values()}
    early = [path for path, run in read.items() if run is None]
    notes += [f"Passed over, for they have no update yet: {named(early)}."] if early else []
    notes += [f"Named twice, and counted once: {named(again)}."] if again else []
    return [run for run in read.values() if run is not None], notes


def _why_none(folder: Path) -> str:
    if not os.path.lexists(folder):
        return "there is no such folder"
    return "it holds no run" if folder.is_dir() else "it is no folder"


def _name(config: dict[str, Any], name: str) -> str:
    """A name as the file has it; ``ValueError`` where there is none."""
    if not isinstance(config.get(name), str):
        raise _Unusable(f"config.json has {shown(config.get(name, 'nothing'))} as `{name}`")
    return config[name]


def _number(data: Metrics, name: str, file: str) -> float:
    """A number that can be added up and drawn, or NaN for null; ``ValueError`` where neither."""
    value = data.get(name, "nothing")
    if value is None:
        return np.nan
    if not is_number(value) or abs(value) > LARGEST:
        raise _Unusable(f"{file} has {shown(value)} as `{name}`")
    return float(value)


def _stamp(path: Path) -> tuple[int, ...]:
    """A value that changes when the file does."""
    try:
        found = path.lstat()
    except OSError:
        return ()
    return found.st_ino, found.st_size, found.st_mtime_ns


def unfinished(runs: list[Run]) -> Iterator[str]:
    """A sentence for the runs that have not ended."""
    if open_ones := [run.folder for run in runs if not run.ended]:
        yield f"Not ended, and compared as far as they are: {named(open_ones)}."


def named(paths: list[Path]) -> str:
    """The first of some folders, and how many more there are."""
    more = f" and {len(paths) - 3} more" if len(paths) > 3 else ""
    return ", ".join(map(str, paths[:3])) + more
