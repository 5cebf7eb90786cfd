"""A run of a language model in the processes that do not lead it: they play and learn."""

from pathlib import Path

from klamp.collection.shards import END
from klamp.lm.config.run import Configuration
from klamp.lm.training.iteration import COMPILE, Iteration, State
from klamp.lm.training.setup import start
from klamp.lm.training.sources import Sources
from klamp.runtime.compile_cache import keep_compiled
from klamp.runtime.device import in_float32, use_device
from klamp.runtime.joined import Joined
from klamp.runtime.signals import Signals, StopAsked
from klamp.runtime.streams import patient_stderr
from klamp.runtime.watch import until_ended
from klamp.training.checkpointing import restore
from klamp.training.resume import gone_on_from


@in_float32
@patient_stderr()
def follow(
    config: Configuration,
    sources: Sources,
    joined: Joined,
    *,
    signals: Signals,
    device: str = "auto",
    resumed: Path | None = None,
    steps: int | None = None,
) -> None:
    """Do what process 0 asks for, until it says that the run has come to its end.

    ``resumed`` is the folder of the run that is gone on with, which all processes can read, and
    ``steps`` its new number of steps. Raises ``Ended`` where process 0 ended with another exit code
    than 0, ``ProcessLost`` where a process is gone.
    """
    use_device(device)
    keep_compiled()
    config, at = (config, None) if resumed is None else gone_on_from(config, resumed, steps)
    with until_ended():
        run = start(config, Path(), sources, joined)
        state = run.fresh_state() if at is None else restore(run.fresh_state(), at)[0]
        run.agree(state)
        with signals:
            _obey(run, state, joined, signals)


def _obey(run: Iteration, state: State, joined: Joined, signals: Signals) -> None:
    """Compile or make an iteration, whichever is asked for."""
    while (command := joined.command()) != END:
        if command == COMPILE:
            run.compile(state)
            continue
        try:
            state, _ = run.advance(state, signals.check)
        except StopAsked:
            # Process 0 saves, and says when to end.
            continue
