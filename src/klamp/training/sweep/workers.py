"""The processes of a sweep: each takes one trial after the other from the storage.

They need nothing of each other, so several commands, on one machine or on many, may work on one
storage. The one that started them hears how far they are, and replaces one that died.
"""

import contextlib
import os
import signal
import sys
import time
import warnings
from collections.abc import Callable
from multiprocessing import connection
from pathlib import Path
from typing import Any, NamedTuple

import cloudpickle

from klamp.envs.source import EnvironmentSource
from klamp.errors import KlampError, KlampWarning, Stopped, one_line
from klamp.runtime.device import in_float32, use_device
from klamp.runtime.processes import process_context, start, warnings_told
from klamp.runtime.signals import GRACE_S, Signals, StopAsked
from klamp.runtime.streams import patient_stderr
from klamp.training.sweep.plan import SweepPlan
from klamp.training.sweep.presence import presence_of
from klamp.training.sweep.study import Study, reachable
from klamp.training.sweep.trial import run_trial

PRELOADED = ("klamp.training.sweep.workers", "klamp.algorithms")
TELL_EVERY_S = 0.5
"""Seconds between two progress messages of a trial."""
WAIT_S = 1.0
"""Seconds until a worker without a trial asks again, while others run the last ones."""
LEAVE_S = GRACE_S + 4.0
"""Seconds for all processes to save and leave."""

BEGUN, UPDATE, ENDED, FAULT, WARNED = "begun", "update", "ended", "fault", "warned"

Tell = Callable[[str, int, float, float | None], None]


class Task(NamedTuple):
    """What every worker of a sweep gets."""

    plan: SweepPlan
    out: Path
    url: str
    name: str
    """That of the study in the storage."""
    trials: int
    """How many there are to be in all."""
    device: str
    source: bytes
    """The environment, pickled: only cloudpickle can send a class or function of a script's own."""


def task_of(
    plan: SweepPlan,
    out: Path,
    url: str,
    trials: int,
    device: str,
    source: EnvironmentSource,
) -> Task:
    """A task, with the environment as other processes take it."""
    return Task(plan, out, url, study_name(out), trials, device, cloudpickle.dumps(source))


def study_name(out: Path) -> str:
    """The name of a sweep in its storage: that of its folder, the same on every machine."""
    return out.resolve().name


class _Worker:
    """A process, and the pipe to it."""

    def __init__(self, task: Task) -> None:
        context = process_context(PRELOADED)
        self.pipe, theirs = context.Pipe(duplex=False)
        self.process = context.Process(target=_work, args=(theirs, task))
        start(self.process)
        theirs.close()
        self.begun = False
        """Whether it has come as far as to take a trial."""


def work_side_by_side(task: Task, jobs: int, hear: Tell, signals: Signals) -> list[str]:
    """Have so many workers run trials until all have ended; what kept some of them from it.

    A worker that is killed is replaced. After a signal all save, and ``StopAsked`` is raised.
    """
    faults: list[str] = []
    crew = [_Worker(task) for _ in range(jobs)]
    try:
        while crew:
            signals.check()
            pipes: list[Any] = [worker.pipe for worker in crew]
            for pipe in connection.wait(pipes, timeout=0.2):
                worker = crew[pipes.index(pipe)]
                try:
                    kind, number, share, mean = worker.pipe.recv()
                except (EOFError, OSError):
                    worker.pipe.close()
                    worker.process.join()
                    died = worker.process.exitcode not in (0, 2)
                    # One that died before it had taken a trial would do so again.
                    if died and worker.begun:
                        crew.append(_Worker(task))
                    elif died:
                        faults.append(f"A worker ended with {worker.process.exitcode}.")
                    continue
                worker.begun = worker.begun or kind == BEGUN
                if kind == FAULT:
                    faults.append(mean)
                elif kind == WARNED:
                    warnings.warn(mean, KlampWarning, stacklevel=2)
                else:
                    hear(kind, number, share, mean)
            crew = [worker for worker in crew if not worker.pipe.closed]
        return list(dict.fromkeys(faults))
    except StopAsked:
        _stop(crew)
        raise
    finally:
        for worker in crew:
            worker.process.kill()
            worker.process.join()


def _stop(crew: list[_Worker]) -> None:
    """Have every process save and leave. What one cannot save is trained again."""
    for worker in crew:
        if worker.process.is_alive():
            worker.process.terminate()
    deadline = time.monotonic() + LEAVE_S
    for worker in crew:
        worker.process.join(max(deadline - time.monotonic(), 0.0))


def _work(pipe: Any, task: Task) -> None:
    """Run one trial after the other, until all have ended."""
    # Ctrl-C reaches the whole group; the parent passes it on, once.
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def tell(kind: str, number: int, share: float = 0.0, mean: Any = None) -> None:
        try:
            pipe.send((kind, number, share, mean))
        except OSError:
            # The process that started the sweep is gone: save, and exit too.
            os.kill(os.getpid(), signal.SIGTERM)

    try:
        with warnings_told(lambda text: tell(WARNED, 0, 0.0, text)):
            work(task, tell)
    except Stopped as stopped:
        sys.exit(stopped.code)
    except KlampError as error:
        tell(FAULT, 0, 0.0, str(error))
        sys.exit(2)
    except Exception as error:
        tell(FAULT, 0, 0.0, f"A worker failed: {type(error).__name__}: {one_line(error)}")
        sys.exit(2)


@in_float32
@patient_stderr()
def work(task: Task, tell: Tell) -> None:
    """Run trials in this process until all have ended."""
    source: EnvironmentSource = cloudpickle.loads(task.source)
    use_device(task.device)
    last = 0.0

    def hear(number: int, share: float, mean: float | None) -> None:
        nonlocal last
        if time.monotonic() - last >= TELL_EVERY_S:
            last = time.monotonic()
            tell(UPDATE, number, share, mean)

    with reachable(task.url), contextlib.closing(presence_of(task.url, task.name)) as presence:
        study = Study(task.url, task.name, task.plan, presence)
        while (claimed := study.claim(task.trials)) is not False:
            if claimed is True:
                time.sleep(WAIT_S)
                continue
            tell(BEGUN, claimed.number, 0.0, None)
            run_trial(study, claimed, task.plan, task.out, source=source, hear=hear)
            tell(ENDED, claimed.number, 1.0, None)
