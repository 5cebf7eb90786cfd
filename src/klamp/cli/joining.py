"""The options with which the processes of a run find each other, and how they end together."""

import os
import sys
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from math import gcd
from typing import Any, NoReturn

from klamp.cli.words import on_the_command_line
from klamp.errors import ConfigError, KlampError, Stopped

USUAL_SHARDS = 4
"""Shards of a run of several processes that is not told how many, where num_envs or prompts allow.
"""


@dataclass(frozen=True)
class Joining:
    """Several processes that train one run together."""

    distributed: bool = False
    """Join the processes that the cluster has started for this run: SLURM, Open MPI, Kubernetes."""
    coordinator: str | None = None
    """HOST:PORT of process 0, which listens there; with processes and process."""
    processes: int | None = None
    """How many processes there are."""
    process: int | None = None
    """Which of them this is, from 0."""
    join_timeout_s: float = 300.0
    """Seconds in which all of them must have started."""
    lost_after_s: float = 30.0
    """Seconds of silence after which another process is taken for lost; all others then stop."""


def several(given: Joining, seeds: int = 1) -> bool:
    """Whether the options ask for more than this one process; ``ConfigError`` where halfway."""
    if given.coordinator is None and not given.distributed:
        for name in ("processes", "process"):
            if getattr(given, name) is not None:
                raise ConfigError(
                    f"`--{name}` is {getattr(given, name)}, but there is no `--coordinator`. Give "
                    "the address of process 0, `--coordinator HOST:PORT`, or start all of them on "
                    "this machine by `klamp launch --processes P -- train …`."
                )
        return False
    if seeds != 1:
        raise ConfigError(
            f"`--seeds` is {seeds}, but one run of several processes has one seed. Start each "
            "seed by itself, such as `--seed 1`."
        )
    if given.distributed and given.coordinator is not None:
        raise ConfigError(
            "`--distributed` asks the cluster for the coordinator, and `--coordinator` is "
            f"{given.coordinator}. Give one of the two."
        )
    return True


def with_shards(config: Any, processes: int | None, divided: str = "num_envs") -> Any:
    """The configuration with a number of shards, where none was given.

    ``divided`` is the setting whose number they divide. It does not depend on the number of
    processes where 1, 2 or 4 of them divide that, so that these make the same run.
    """
    whole = getattr(config.settings, divided)
    usual, count = gcd(whole, USUAL_SHARDS), processes or 1
    shards = usual if usual % count == 0 else count
    if whole % shards:
        raise ConfigError(
            f"`{divided}` of Settings is {whole}, which cannot be divided among {count} "
            f"processes. Give a multiple of {count}."
        )
    return replace(config, settings=replace(config.settings, shards=shards))


def check_shards(config: Any, processes: int) -> None:
    """Raise ``ConfigError`` where shards cannot be divided among the processes."""
    shards = config.settings.shards
    if shards % processes:
        raise ConfigError(
            f"`shards` of the run is {shards}, which cannot be divided among {processes} "
            "processes. Start as many processes as divide it, or another run with a multiple of "
            f"{processes}."
        )


def run_together(
    given: Joining,
    config: Any,
    facts: Mapping[str, Any],
    signals: Any,
    lead: Callable[[Any], int],
    follow: Callable[[Any], None],
) -> int:
    """Run ``lead`` in process 0 and ``follow`` in the others; the exit code.

    Without any that were asked for this process is alone. Else they join first, and each tells the
    others how it ends before it does. ``facts`` must be alike in all of them.
    """
    together = several(given)
    if given.processes is not None:
        check_shards(config, given.processes)
    if given.processes == 1 or not together:
        from klamp.runtime.joined import ALONE

        return lead(ALONE)
    from klamp.collection.shards import END
    from klamp.runtime.joining import Cluster, join, leave

    parts = (given.coordinator, given.processes, given.process)
    try:
        joined = join(Cluster(*parts, given.join_timeout_s, given.lost_after_s), facts)
    except KlampError as error:
        _say(error)
        _exit(error.code)
    joined.heed(signals)
    code, text = 1, "it raised an exception"
    try:
        check_shards(config, joined.count)
        if joined.index == 0:
            code = lead(joined)
            joined.lead(END)
        else:
            follow(joined)
            code = 0
        text = "done"
    except (KlampError, Stopped) as error:
        code, text = error.code, str(error)
        _say(error)
    except BaseException as error:
        code, text = _why(joined, error)
    finally:
        leave(joined, code, text)
        _exit(code)


def _why(joined: Any, error: BaseException) -> tuple[int, str]:
    """What an unexpected exception comes from: most often another process has ended."""
    try:
        joined.watch.check()
    except KlampError as known:
        _say(known)
        return known.code, str(known)
    traceback.print_exception(error)
    return 1, "it raised an exception"


def _say(error: BaseException) -> None:
    print(f"klamp: {on_the_command_line(str(error))}", file=sys.stderr)


def _exit(code: int) -> NoReturn:
    """Not the interpreter's way out: on it JAX waits for processes, or aborts, if any is gone."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
