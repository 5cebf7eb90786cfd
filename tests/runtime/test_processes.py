"""Processes of klamp's own are never forked from one that has threads, and import what is named."""

from importlib.util import find_spec

import pytest

from klamp.envs.host import subprocesses
from klamp.runtime.processes import METHOD, process_context
from klamp.training import seeds_processes


@pytest.mark.parametrize("modules", [subprocesses.PRELOADED, seeds_processes.PRELOADED])
def test_what_is_imported_beforehand_exists(modules: tuple[str, ...]) -> None:
    assert METHOD in ("forkserver", "spawn")
    assert all(find_spec(module) is not None for module in modules)


def test_nothing_is_forked_from_a_process_with_threads() -> None:
    context = process_context(["colorsys"])
    assert context.get_start_method() == METHOD != "fork"
