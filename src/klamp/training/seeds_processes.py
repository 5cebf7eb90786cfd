"""Many seeds in processes, each of which takes one seed after the other from a common list.

A process that dies takes the seed with it that it was training, and no other: another process takes
its place, and what was saved of that seed can be gone on with.
"""

import os
import signal
import sys
import time
import warnings
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from multiprocessing import connection
from pathlib import Path
from typing import Any, NamedTuple

import cloudpickle

from klamp.config.run import RunConfig
from klamp.envs.source import EnvironmentSource
from klamp.errors import KlampError, KlampWarning, Stopped
from klamp.reporting.format import MADE, Refusals
from klamp.reporting.logs import log_of
from klamp.reporting.reporter import Told
from klamp.reporting.seeds_progress import BEGUN, DONE, FAILED, REFUSED, UPDATE
from klamp.runs.folder import read_config
from klamp.runs.metrics_log import Metrics
from klamp.runtime.device import use_device
from klamp.runtime.processes import process_context, start, warnings_told
from klamp.runtime.signals import GRACE_S, Signals, StopAsked
from klamp.training.callbacks import Reporters

PRELOADED = ("klamp.training.seeds_processes", "klamp.training.resume", "klamp.algorithms")
"""What every process of a run imports."""

TELL_EVERY_S = 0.5
"""Seconds between two progress messages of a run."""

LEAVE_S = GRACE_S + 4.0
"""Seconds for all processes to save and leave: one whose loop hangs saves from another thread."""

READY, WARNED = "ready", "warned"
"""What a process sends: that it is without a run, or a warning of the run that it has."""

Plan = tuple[RunConfig, Path]
"""A run, and its folder, whose `config.json` says the same, but for the steps perhaps."""


class Unfinished(NamedTuple):
    """What is missing after all processes have left."""

    failed: list[str]
    """Which seeds did not come to their end, and why."""
    not_begun: list[int]
    """The seeds that no process was left to begin."""


class SeedsNotSaved(Exception):
    """Raised in place of ``StopAsked``: ``seeds`` have lost what came after their checkpoints."""

    def __init__(self, seeds: list[int]) -> None:
        super().__init__(seeds)
        self.seeds = seeds


class Member:
    """A process, the pipe to it, and the run that it was given."""

    def __init__(self, device: str, environment: bytes, logs: Sequence[str]) -> None:
        context = process_context(PRELOADED)
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=_work, args=(theirs, device, environment, logs))
        start(self.process)
        theirs.close()
        self.ready = False
        """Whether it has come as far as to ask for a run."""
        self.plan: Plan | None = None

    def give(self, waiting: deque[Plan]) -> None:
        """Send the next run, or that there is none."""
        self.ready, self.plan = True, waiting.popleft() if waiting else None
        try:
            self.pipe.send(self.plan)
        except OSError:
            # It died in this moment, and had not begun. That is heard from its pipe.
            if self.plan is not None:
                waiting.appendleft(self.plan)
                self.plan = None

    def obituary(self) -> list[str]:
        """What its end has left unfinished."""
        self.process.join()
        code = self.process.exitcode
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with {code}"
        if self.plan is not None:
            config, folder = self.plan
            return [f"Seed {config.settings.seed}: its process {how}; {folder} is unfinished."]
        return [f"A process {how}."] if code else []


def train_side_by_side(
    plans: list[Plan],
    source: EnvironmentSource,
    count: int,
    device: str,
    hear: Callable[[str, int, Any], None],
    signals: Signals,
    logs: Sequence[str] = (),
) -> Unfinished:
    """Train in so many processes at once; ``hear`` is told how far each run is, ``logs`` all of it.

    After a signal all runs are saved, and ``StopAsked`` is raised, or ``SeedsNotSaved``.
    """
    waiting, failed = deque(plans), list[str]()
    # Only cloudpickle can send a class or function of a script's own.
    environment = cloudpickle.dumps(source)
    crew = [Member(device, environment, logs) for _ in range(min(count, len(plans)))]
    try:
        while crew:
            signals.check()
            pipes: list[Any] = [member.pipe for member in crew]
            for pipe in connection.wait(pipes, timeout=0.2):
                member = crew[pipes.index(pipe)]
                try:
                    kind, seed, what = member.pipe.recv()
                except (EOFError, OSError):
                    failed += member.obituary()
                    # One that died before it was ready would do so again.
                    if member.ready and waiting:
                        crew.append(Member(device, environment, logs))
                    member.pipe.close()
                    continue
                if kind == READY:
                    member.give(waiting)
                    continue
                if kind == WARNED:
                    warnings.warn(what, KlampWarning, stacklevel=2)
                    continue
                if kind == FAILED:
                    failed.append(f"Seed {seed}: {what}")
                hear(kind, seed, what)
            crew = [member for member in crew if not member.pipe.closed]
        return Unfinished(failed, [config.settings.seed for config, _ in waiting])
    except StopAsked:
        if unsaved := _stop(crew):
            raise SeedsNotSaved(unsaved) from None
        raise
    finally:
        for member in crew:
            member.process.kill()
            member.process.join()


def _stop(crew: list[Member]) -> list[int]:
    """Have every process save and leave; the seeds of which that is not known."""
    for member in crew:
        if member.process.is_alive():
            os.kill(member.process.pid, signal.SIGTERM)
    unsaved: list[int] = []
    deadline = time.monotonic() + LEAVE_S
    for member in crew:
        member.process.join(max(deadline - time.monotonic(), 0.0))
        if member.plan is not None and member.process.exitcode != 128 + signal.SIGTERM:
            unsaved.append(member.plan[0].settings.seed)
    return unsaved


TOLD = (
    "step",
    "update",
    "return_mean",
    "kl",
    "entropy",
    "explained_variance",
    "steps_per_second",
    "updates_refused",
)
"""The metrics of a run that it tells those who watch all of them."""


class PipeReporter:
    """The reporter of one of many runs: a progress message every now and then."""

    def __init__(self, tell: Callable[[tuple[Any, ...]], object], config: RunConfig) -> None:
        self._tell, self._seed, self._last = tell, config.settings.seed, 0.0
        self._refusals, self._refused = Refusals(), 0

    def start(self, config: RunConfig, folder: Path) -> None:
        """The run begins, or goes on."""
        self._tell((BEGUN, self._seed, None))

    def update(self, event: Told) -> None:
        """How far the run is; the first refused update of a row at once."""
        metrics = event.metrics
        self._refused += metrics["outcome"] not in MADE
        if (said := self._refusals.said_of(metrics)) is not None:
            self._tell((REFUSED, self._seed, said))
        if time.monotonic() - self._last >= TELL_EVERY_S:
            self._last = time.monotonic()
            self._tell((UPDATE, self._seed, _told(metrics) | {"updates_refused": self._refused}))

    def finish(self, summary: Metrics) -> None:
        """The result."""
        self._tell((DONE, self._seed, _told(summary)))


def _told(metrics: Mapping[str, Any]) -> Metrics:
    """What a run tells of its metrics."""
    return {name: metrics[name] for name in TOLD if name in metrics}


def _work(pipe: Any, device: str, environment: bytes, logs: Sequence[str]) -> None:
    """Train one seed after the other; the next has what the last compiled."""
    # Ctrl-C reaches the whole group; the parent passes it on, once.
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def tell(word: tuple[Any, ...]) -> None:
        try:
            pipe.send(word)
        except OSError:
            # The parent process is gone: save, and exit too.
            os.kill(os.getpid(), signal.SIGTERM)

    source: EnvironmentSource = cloudpickle.loads(environment)
    use_device(device)
    with warnings_told(lambda text: tell((WARNED, 0, text))):
        _train_each(lambda: _next(pipe, tell), tell, source, logs)


def _train_each(
    following: Callable[[], Plan | None],
    tell: Callable[[tuple[Any, ...]], None],
    source: EnvironmentSource,
    logs: Sequence[str],
) -> None:
    """Train what there is to train, until nothing is left."""
    from klamp.training.resume import resume_one

    run: Any = None
    while (plan := following()) is not None:
        config, folder = plan
        try:
            there = read_config(folder)
            reporters = Reporters(logs=[*map(log_of, logs), PipeReporter(tell, config)])
            steps = None if there == config else config.settings.steps
            result, run = resume_one(
                there, folder, reporters=reporters, steps=steps, compiled_by=run, environment=source
            )
            if result.unsaved is not None:
                tell((FAILED, config.settings.seed, result.unsaved))
        except Stopped as stopped:
            sys.exit(stopped.code)
        except KlampError as error:
            tell((FAILED, config.settings.seed, str(error)))


def _next(pipe: Any, tell: Callable[[tuple[Any, ...]], None]) -> Plan | None:
    """Ask for a run; None where none is left, or the parent process is gone."""
    tell((READY, 0, None))
    try:
        return pipe.recv()
    except (EOFError, OSError):
        return None
