"""Which device computes, on how many cores; compiled programs, kept between runs within a bound."""

import contextlib
import functools
import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import equinox as eqx
import jax
import numpy as np

from klamp.errors import ConfigError
from klamp.fingerprint import fingerprint

P = ParamSpec("P")
R = TypeVar("R")

SWITCH = "KLAMP_CACHE"
"""Environment variable: a folder of your own, or ``off``."""

MAXIMUM_BYTES = 2**29
"""What has not been used for longest makes way."""

QUICKLY = {"xla_backend_optimization_level": 0, "xla_cpu_use_fusion_emitters": False}
"""Compile options that take little time to compile."""


def cache_folder() -> Path | None:
    """Where compiled programs lie: one folder for each processor and JAX; None if switched off.

    A program is made of the processor's own instructions, so a home that several machines share
    must not hand one machine's to another.
    """
    chosen = os.environ.get(SWITCH, "")
    if chosen.lower() in ("off", "0", "no"):
        return None
    base = Path(chosen) if chosen else _user_cache() / "klamp" / "compiled"
    facts = fingerprint()
    made_for = "|".join(facts[name] for name in ("machine", "processor", "jax", "jaxlib"))
    return base / hashlib.sha256(made_for.encode()).hexdigest()[:16]


def keep_compiled() -> None:
    """Have JAX look for compiled programs on the disk, unless the user has said where already."""
    if getattr(jax.config, "jax_compilation_cache_dir") is not None:  # noqa: B009 - not in the stubs
        return
    folder = cache_folder()
    if folder is None:
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        # A home that cannot be written costs a compilation, not the run.
        return
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_compilation_cache_max_size", MAXIMUM_BYTES)
    # Small programs, too: the second start of a run is to compile nothing.
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)


def once(function: Callable[..., Any]) -> Callable[..., Any]:
    """``function`` as a program that is run once: compiled in a fifth of the time, to slower code.

    An XLA that does not know the options compiles it as any other.
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


def in_float32(function: Callable[P, R]) -> Callable[P, R]:
    """``function`` with JAX's usual 32 bits for all that it makes, whatever the process is set to.

    A run is one of float32, and so is its checkpoint, under ``JAX_ENABLE_X64`` too.
    """

    @functools.wraps(function)
    def call(*arguments: P.args, **options: P.kwargs) -> R:
        with jax.enable_x64(False):
            return function(*arguments, **options)

    return call


def on_host(tree: Any) -> Any:
    """The arrays of a tree as numpy's, of a device's memory all fetched at once.

    On a CPU they lie in this memory already, and asking for a fetch takes longer than looking.
    """
    return jax.tree.map(np.asarray, tree) if cpu() else jax.device_get(tree)


def cpu() -> bool:
    """Whether what is computed now is computed on a CPU: on the device that was chosen, if one was.

    Nothing else asks: JAX's default backend is the machine's best, whatever was chosen.
    """
    chosen: Any = getattr(jax.config, "jax_default_device")  # noqa: B009 - not in the stubs
    if chosen is None:
        return jax.default_backend() == "cpu"
    return (chosen if isinstance(chosen, str) else chosen.platform) == "cpu"


def use_device(name: str) -> None:
    """Have this process compute on the ``cpu`` or the ``gpu``; ``auto`` leaves the choice to JAX.

    Raises ``ConfigError`` where there is no such device.
    """
    if name == "auto":
        return
    if name not in ("cpu", "gpu"):
        raise ConfigError(f"`device` is {name!r}, but must be one of 'auto', 'cpu', 'gpu'.")
    try:
        device = jax.devices(name)[0]
    except RuntimeError as error:
        there = ", ".join(str(each) for each in jax.devices())
        raise ConfigError(
            f"`device` is {name!r}, but JAX finds none; it finds {there}. For NVIDIA's, install "
            '`pip install "jax[cuda12]"` beside klamp; or leave `--device` out.'
        ) from error
    jax.config.update("jax_default_device", device)


def cores() -> int:
    """The processor cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1  # no such call on macOS


def _user_cache() -> Path:
    """The folder for caches of this user."""
    home = os.environ.get("XDG_CACHE_HOME")
    return Path(home) if home else Path.home() / ".cache"
