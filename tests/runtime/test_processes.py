"""Processes of klamp's own are never forked from one that has threads, and import what is named."""

import os
import signal
import warnings
from importlib.util import find_spec
from multiprocessing import forkserver

import pytest

from klamp.envs.host import subprocesses
from klamp.errors import KlampWarning
from klamp.runtime.processes import (
    METHOD,
    own_cores,
    process_context,
    start,
    warnings_told,
)
from klamp.training import seeds_processes


@pytest.mark.parametrize("modules", [subprocesses.PRELOADED, seeds_processes.PRELOADED])
def test_what_is_imported_beforehand_exists(modules: tuple[str, ...]) -> None:
    assert METHOD in ("forkserver", "spawn")
    assert all(find_spec(module) is not None for module in modules)


def test_nothing_is_forked_from_a_process_with_threads() -> None:
    context = process_context(["colorsys"])
    assert context.get_start_method() == METHOD != "fork"


@pytest.mark.skipif(METHOD != "forkserver", reason="there is no server here")
def test_a_process_starts_although_the_server_is_killed_while_it_is_asked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The very moment: the server is there when it is looked for, and dies before it answers."""
    context = process_context([])
    server = forkserver._forkserver  # type: ignore[attr-defined]
    server.ensure_running()
    found = forkserver.connect_to_new_process

    def killed_first(fds: list[int]) -> tuple[int, int]:
        monkeypatch.setattr(forkserver, "connect_to_new_process", found)
        os.kill(server._forkserver_pid, signal.SIGSTOP)
        answer = found(fds)
        os.kill(server._forkserver_pid, signal.SIGKILL)
        return answer

    monkeypatch.setattr(forkserver, "connect_to_new_process", killed_first)
    process = context.Process(target=os.getpid)
    start(process)
    process.join()
    assert process.exitcode == 0


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="the system does not divide cores")
def test_every_process_has_its_share_of_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    given: dict[int, list[int]] = {}
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {2, 3, 5, 7, 11})
    monkeypatch.setattr(os, "sched_setaffinity", lambda process, own: given.update({process: own}))
    own_cores([40, 41])
    assert given == {40: [2, 3], 41: [5, 7, 11]}
    given.clear()
    own_cores(range(6))
    assert given == {}, "fewer cores than processes"


def test_what_klamp_warns_of_is_told_and_the_rest_is_shown() -> None:
    said: list[str] = []
    with warnings.catch_warnings(record=True) as shown, warnings_told(said.append):
        warnings.simplefilter("always")
        warnings.warn("give a larger `max_kl=…`", KlampWarning, stacklevel=1)
        warnings.warn("of another library", UserWarning, stacklevel=1)
    assert said == ["give a larger `max_kl=…`"]
    assert [str(each.message) for each in shown] == ["of another library"]
