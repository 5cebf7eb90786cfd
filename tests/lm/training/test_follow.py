"""The processes that do not lead: they do what process 0 asks, and end when it does."""

from typing import Any

import pytest
from joined_threads import in_each, joined_threads

from klamp.collection.shards import END
from klamp.lm.config.presets import configure
from klamp.lm.training import follow as module
from klamp.lm.training.follow import follow
from klamp.lm.training.iteration import ADVANCE, COMPILE
from klamp.lm.training.sources import Sources
from klamp.runtime.signals import Signals, StopAsked
from klamp.runtime.watch import Ended

CONFIG = configure("sort", "ppo", {"prompts": 4, "shards": 2, "steps": 100})


class Run:
    """Counts its updates; ``stops`` are those at which a process was sent a signal."""

    def __init__(self, stops: tuple[int, ...] = ()) -> None:
        self.done: list[Any] = []
        self._stops = stops

    def fresh_state(self) -> int:
        return 0

    def agree(self, state: int) -> None:
        self.done.append("agreed")

    def compile(self, state: int) -> float:
        self.done.append(f"compiled at {state}")
        return 0.0

    def advance(self, state: int, check: Any) -> tuple[int, dict[str, float]]:
        check()
        if len(self.done) in self._stops:
            self.done.append("stopped")
            raise StopAsked
        self.done.append(state)
        return state + 1, {}


def followed(run: Run, monkeypatch: pytest.MonkeyPatch, commands: list[str], code: int = 0) -> Any:
    """What ``follow`` returns or raises in process 1, where process 0 gives these commands."""
    monkeypatch.setattr(module, "start", lambda *parts: run)
    joined = joined_threads(2)

    def work(each: Any) -> Any:
        if each.index:
            return follow(CONFIG, Sources(), each, signals=Signals())
        for command in commands:
            each.lead(command)
        return each.watch.end(code, "so it ends")

    result = in_each(joined, work)[1]
    for each in joined:
        each.watch.leave()
    return result


def test_it_compiles_and_makes_iterations_until_the_run_ends(monkeypatch) -> None:
    run = Run(stops=(3,))
    commands = [COMPILE, ADVANCE, ADVANCE, ADVANCE, END]
    assert followed(run, monkeypatch, commands) is None
    # What a signal interrupted is not counted.
    assert run.done == ["agreed", "compiled at 0", 0, "stopped", 1]


@pytest.mark.parametrize("code", [0, 143])
def test_it_ends_as_process_0_does(monkeypatch, code: int) -> None:
    ended = followed(Run(), monkeypatch, [COMPILE], code)
    if code:
        assert isinstance(ended, Ended)
        assert ended.code == code
    else:
        assert ended is None


def test_a_run_that_was_stopped_before_its_first_update_begins_anew(monkeypatch, tmp_path) -> None:
    started: list[int] = []

    def start(config: Any, *parts: Any) -> Run:
        started.append(config.settings.steps)
        return Run()

    monkeypatch.setattr(module, "start", start)
    (joined,) = joined_threads(1)
    joined.command = lambda: END
    follow(CONFIG, Sources(), joined, signals=Signals(), resumed=tmp_path, steps=200)
    assert started == [200]
    joined.watch.leave()
