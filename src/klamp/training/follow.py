"""A run in the processes that do not lead it: they collect and learn, and write nothing."""

from pathlib import Path

from klamp.collection.shards import END, POSITION, ShardedPosition
from klamp.config.run import RunConfig
from klamp.envs.source import EnvironmentSource, source_of
from klamp.runs.folder import run_of
from klamp.runtime.device import in_float32, use_device
from klamp.runtime.joined import Joined
from klamp.runtime.signals import Signals, StopAsked
from klamp.runtime.streams import patient_stderr
from klamp.runtime.watch import until_ended
from klamp.training.iteration import Iteration, start
from klamp.training.resume import gone_on_from, put_back
from klamp.training.start_from import started
from klamp.training.state import TrainState


@in_float32
@patient_stderr()
def follow(
    config: RunConfig,
    joined: Joined,
    *,
    signals: Signals,
    device: str = "auto",
    environment: EnvironmentSource | None = None,
    resumed: Path | None = None,
    steps: int | None = None,
) -> None:
    """Do what process 0 asks for, until it says that the run has come to its end.

    ``resumed`` is the folder of the run that is gone on with, which all processes can read, and
    ``steps`` its new number of steps. Raises ``Ended`` where process 0 ended with another exit code
    than 0, ``ProcessLost`` where a process is gone.
    """
    use_device(device)
    source = environment or source_of(config)
    config, at = (config, None) if resumed is None else gone_on_from(config, resumed, steps)
    run, state = start(config, environment=source, processes=joined)
    try:
        with until_ended():
            state = started(run, state) if at is None else put_back(run, state, run_of(at), at)
            run.compile(state)
            with signals:
                _obey(run, state, joined, signals)
    finally:
        run.close()


def _obey(run: Iteration, state: TrainState, joined: Joined, signals: Signals) -> None:
    """Make an iteration, or say where the environments stand, whichever is asked for."""
    boundary: ShardedPosition = run.collector.position()
    while (command := joined.command()) != END:
        if command == POSITION:
            joined.answer(boundary.own())
            continue
        try:
            state, _ = run.advance(state, signals.check)
        except StopAsked:
            # What was collected is thrown away; process 0 saves, and says when to end.
            continue
        boundary = run.collector.position()
