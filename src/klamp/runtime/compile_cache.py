"""Compiled programs, kept between runs within a bound; how thoroughly they are compiled."""

import contextlib
import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import equinox as eqx
import jax

from klamp.runtime.device import cpu
from klamp.runtime.provenance import fingerprint

SWITCH = "KLAMP_CACHE"
"""Environment variable: a folder of your own, or ``off``."""

MAXIMUM_BYTES = 2**29
"""Beyond this, the programs that were not used for longest are removed."""

QUICKLY = {"xla_backend_optimization_level": 0, "xla_cpu_use_fusion_emitters": False}
"""Compile options that take little time to compile."""


def cache_folder() -> Path | None:
    """The folder of compiled programs, one per processor and JAX version; None if switched off.

    A program consists of its processor's instructions, so machines that share a home folder must
    not share programs.
    """
    chosen = os.environ.get(SWITCH, "")
    if chosen.lower() in ("off", "0", "no"):
        return None
    base = Path(chosen) if chosen else _user_cache() / "klamp" / "compiled"
    facts = fingerprint()
    made_for = "|".join(facts[name] for name in ("machine", "processor", "jax", "jaxlib"))
    return base / hashlib.sha256(made_for.encode()).hexdigest()[:16]


def keep_compiled() -> None:
    """Have JAX keep compiled programs on the disk, unless the user has already set where."""
    if getattr(jax.config, "jax_compilation_cache_dir") is not None:  # noqa: B009 - not in the stubs
        return
    folder = cache_folder()
    if folder is None:
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        # Where the home folder cannot be written, the run compiles again.
        return
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_compilation_cache_max_size", MAXIMUM_BYTES)
    # Small programs, too, so that the second start of a run compiles nothing.
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)


def compile_cheaply(function: Callable[..., Any]) -> Callable[..., Any]:
    """``function`` for a single call: compiled in a fifth of the time, to slower code.

    An XLA without these options compiles it like any other.
    """
    filter_jit: Any = eqx.filter_jit
    usual = filter_jit(function)
    quick = filter_jit(function, compiler_options=QUICKLY)

    def call(*arguments: Any) -> Any:
        if cpu():
            with contextlib.suppress(jax.errors.JaxRuntimeError):
                return quick(*arguments)
        return usual(*arguments)

    return call


def _user_cache() -> Path:
    """The folder for caches of this user."""
    home = os.environ.get("XDG_CACHE_HOME")
    return Path(home) if home else Path.home() / ".cache"
