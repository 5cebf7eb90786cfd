"""One configuration under many seeds at once, a folder a run.

On a CPU by a process a core: each run is the run of its seed alone, to the byte, for it is trained
by the same loop, in a process that hands what it compiled from one seed to the next. Environments
written in JAX on a GPU, and those given as objects, as one program (``seeds_fused``).
"""

import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from multiprocessing import connection
from pathlib import Path
from typing import Any, NamedTuple

from klamp.assembly import environment_name, environment_of
from klamp.checks import is_integer
from klamp.compilation import cores, use_device
from klamp.compilation import cpu as on_cpu
from klamp.config import AlgorithmConfig, RunConfig
from klamp.envs.contract import check_environment
from klamp.envs.jax_adapters import device_environment
from klamp.errors import ConfigError, KlampError, Stopped
from klamp.metrics import Metrics
from klamp.presets import configure
from klamp.report import Progress
from klamp.run_folder import choose_folder
from klamp.seeds_fused import train_as_one
from klamp.signals import Signals, StopAsked
from klamp.training import train_one

METHOD = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
"""Not fork: JAX has threads, whose locks a forked child would wait for for ever."""

TELL_EVERY_S = 0.5
"""Seconds between two words of a run on how far it is."""


def train_seeds(
    env: Any,
    algorithm: AlgorithmConfig | str | None = None,
    *,
    seeds: int | Sequence[int],
    out: str | Path | None = None,
    workers: int | None = None,
    quiet: bool = False,
    device: str = "auto",
    **settings: Any,
) -> list[Path]:
    """Train with each seed, many at once; the folders, one a seed.

    ``seeds`` are numbers, or how many from ``seed`` (0) on. ``out`` is a folder that gets
    ``seed-0``, ``seed-1``, …; by default each run lies where ``train`` would put it. ``workers``
    is the number of processes, by default one a core. A script must call this under
    ``if __name__ == "__main__":``.

    An environment written in JAX is trained as one program for all seeds where there is a GPU, or
    where it is given as an object; the runs then differ from those trained alone by rounding.
    """
    config = configure(environment_name(env), algorithm, settings)
    first = config.settings.seed
    numbers = count_up(first, seeds) if isinstance(seeds, int) else list(seeds)
    own = None if isinstance(env, str) else env
    return train_seeds_config(
        config,
        numbers,
        out=out,
        workers=workers,
        quiet=quiet,
        device=device,
        signals=Signals(),
        environment=own,
    )


def count_up(first: int, seeds: int) -> list[int]:
    """So many seeds from the first on."""
    if not is_integer(seeds, 1):
        raise ConfigError(f"`seeds` is {seeds!r}, but must be an integer ≥ 1.")
    return list(range(first, first + seeds))


def train_seeds_config(
    config: RunConfig,
    seeds: list[int],
    *,
    out: str | Path | None,
    workers: int | None,
    quiet: bool,
    device: str,
    signals: Signals,
    environment: Any = None,
) -> list[Path]:
    """Train a complete configuration with each seed."""
    plans: list[tuple[RunConfig, Path]] = []
    for seed in seeds:
        one = replace(config, settings=replace(config.settings, seed=seed))
        place = None if out is None else Path(out) / f"seed-{seed}"
        plans.append((one, choose_folder(one, place)))
    source = environment_of(config, environment)
    check_environment(source, config.settings)
    progress = Progress(config, len(seeds), sys.stderr if not quiet else None)
    with signals:
        try:
            if as_one(source, config, device):
                tell = partial(Telling, lambda word: progress.hear(*word))
                failures = train_as_one(plans, environment, tell, signals)
            else:
                failures = _side_by_side(
                    plans, min(workers or cores(), len(seeds)), device, progress, signals
                )
        except StopAsked:
            folders = " ".join(str(folder) for _, folder in plans)
            name = signal.Signals(signals.number).name
            raise Stopped(
                signals.number,
                f"{name}: every run that had begun was saved; go on with `klamp resume` for each "
                f"of: {folders}",
            ) from None
    if failures:
        raise KlampError(f"{len(failures)} of {len(seeds)} runs failed. {' '.join(failures)}")
    return [folder for _, folder in plans]


def as_one(source: Any, config: RunConfig, device: str) -> bool:
    """Whether the runs become one program: on a CPU that is no faster than one after the other."""
    if device_environment(source, config.settings.vectorization) is None:
        return False
    use_device(device)
    return not isinstance(source, str) or not on_cpu()


def _side_by_side(
    plans: list[tuple[RunConfig, Path]],
    count: int,
    device: str,
    progress: Progress,
    signals: Signals,
) -> list[str]:
    """Train in so many processes; what failed, in words. After a signal all runs are saved."""
    context: Any = multiprocessing.get_context(METHOD)
    if METHOD == "forkserver":
        context.set_forkserver_preload(["klamp.seeds", "klamp.algorithms"])
    crew = [_launch(context, plans[number::count], device) for number in range(count)]
    try:
        return _listen(crew, progress, signals)
    except StopAsked:
        _stop(crew)
        raise
    finally:
        for worker in crew:
            worker.process.kill()
            worker.process.join()


class Member(NamedTuple):
    """A process, and the pipe that it tells its progress through."""

    process: Any
    pipe: Any


class Telling:
    """The reporter of one of many runs: a word now and then of how far it is."""

    def __init__(self, tell: Callable[[tuple[Any, ...]], object], config: RunConfig) -> None:
        self._tell, self._seed, self._last = tell, config.settings.seed, 0.0

    def start(self, config: RunConfig, folder: str) -> None:
        """Nothing to tell yet."""

    def update(self, metrics: Metrics) -> None:
        """How far the run is."""
        if time.monotonic() - self._last >= TELL_EVERY_S:
            self._last = time.monotonic()
            self._tell(("update", self._seed, metrics["step"], metrics["return_mean"]))

    def finish(self, summary: Metrics) -> None:
        """The result."""
        self._tell(("done", self._seed, summary["step"], summary["return_mean"]))

    def stop(self) -> None:
        """Nothing to give back."""


def _launch(context: Any, plans: list[tuple[RunConfig, Path]], device: str) -> Member:
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_work, args=(theirs, plans, device))
    process.start()
    theirs.close()
    return Member(process, ours)


def _work(pipe: Any, plans: list[tuple[RunConfig, Path]], device: str) -> None:
    """Train one seed after the other; the next has what the last compiled."""
    # Ctrl-C reaches the whole group; the parent passes it on, once.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    run: Any = None
    use_device(device)
    for config, folder in plans:
        to = Telling(pipe.send, config)
        try:
            result, run = train_one(config, out=folder, to=to, like=run)
            if result.unsaved is not None:
                pipe.send(("failed", config.settings.seed, result.unsaved, None))
        except Stopped as stopped:
            sys.exit(stopped.code)
        except KlampError as error:
            pipe.send(("failed", config.settings.seed, str(error), None))


def _listen(crew: list[Member], progress: Progress, signals: Signals) -> list[str]:
    """Hear of all runs until the last worker has left; what failed, in words."""
    failures: list[str] = []
    open_pipes: dict[Any, Member] = {worker.pipe: worker for worker in crew}
    while open_pipes:
        signals.check()
        ready: list[Any] = connection.wait(list(open_pipes), timeout=0.2)
        for pipe in ready:
            try:
                kind, seed, what, mean = pipe.recv()
            except EOFError:
                process = open_pipes.pop(pipe).process
                process.join()
                if process.exitcode:
                    failures.append(f"A process ended with {process.exitcode}.")
                continue
            if kind == "failed":
                failures.append(f"Seed {seed}: {what}")
            else:
                progress.hear(kind, seed, what, mean)
    return failures


def _stop(crew: list[Member]) -> None:
    """Have every worker save and leave."""
    for worker in crew:
        if worker.process.is_alive():
            os.kill(worker.process.pid, signal.SIGTERM)
    for worker in crew:
        worker.process.join(8.0)
