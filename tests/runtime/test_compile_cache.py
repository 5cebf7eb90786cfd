"""Compiled programs are kept, and found again."""

import os
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from klamp.runtime import compile_cache
from klamp.runtime.compile_cache import SWITCH, cache_folder

PROGRAM = """
import jax, sys
from klamp.runtime.compile_cache import keep_compiled
keep_compiled()
found = []
jax.monitoring.register_event_listener(lambda name, **_: found.append(name))
print(float(jax.jit(lambda x: (x * 2 + 1).sum())(jax.numpy.arange(3.0))))
print(sum("cache_miss" in name for name in found), sum("cache_hit" in name for name in found))
"""


@pytest.mark.slow
def test_the_second_start_compiles_nothing(tmp_path: Path) -> None:
    free = {k: v for k, v in os.environ.items() if not k.startswith("JAX_")}
    said = [
        subprocess.run(
            [sys.executable, "-c", PROGRAM],
            env=free | {SWITCH: str(tmp_path)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.split()
        for _ in range(2)
    ]
    (value, misses, hits), (same, none, all_of_them) = said
    assert value == same == "9.0"
    assert int(misses) > 0 == int(hits)
    assert int(none) == 0
    assert int(all_of_them) == int(misses)


def test_the_switch_and_the_folders(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(SWITCH, "off")
    assert cache_folder() is None
    monkeypatch.setenv(SWITCH, str(tmp_path / "mine"))
    mine = cache_folder()
    assert mine is not None
    assert mine.parent == tmp_path / "mine"
    monkeypatch.delenv(SWITCH)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    usual = cache_folder()
    assert usual is not None
    assert usual.parent == tmp_path / "klamp" / "compiled"
    # Another processor has a folder of its own.
    facts = {"machine": "m", "processor": "another", "jax": "1", "jaxlib": "1"}
    monkeypatch.setattr("klamp.runtime.compile_cache.fingerprint", lambda: facts)
    other = cache_folder()
    assert other is not None
    assert other.name != usual.name == mine.name


def test_a_program_run_once_is_the_same_program(monkeypatch) -> None:
    def function(x):
        return jax.numpy.sin(x) @ x.T, "what is no array"

    x = jax.random.normal(jax.random.key(0), (5, 7))
    expected = function(x)[0]
    for options in (compile_cache.QUICKLY, {"xla_no_such_option": True}):
        monkeypatch.setattr(compile_cache, "QUICKLY", options)
        found, word = compile_cache.compile_cheaply(function)(x)
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
        assert word == "what is no array"
