"""Which device computes, and in how many bits."""

import functools
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

import jax
import numpy as np

from klamp.errors import ConfigError
from klamp.types import PyTree

P = ParamSpec("P")
R = TypeVar("R")


def in_float32(function: Callable[P, R]) -> Callable[P, R]:
    """``function`` in JAX's usual 32 bits, whatever the process is set to.

    Runs and checkpoints are float32, under ``JAX_ENABLE_X64``, too.
    """

    @functools.wraps(function)
    def call(*arguments: P.args, **options: P.kwargs) -> R:
        with jax.enable_x64(False):
            return function(*arguments, **options)

    return call


def on_host(tree: object) -> PyTree:
    """The arrays of a tree as numpy's, all fetched from the device at once.

    On a CPU they are in this memory already, and reading them directly is faster than a fetch.
    """
    return jax.tree.map(np.asarray, tree) if cpu() else jax.device_get(tree)


def cpu() -> bool:
    """Whether computations run on a CPU now: on the chosen device, if one was chosen.

    The only place to ask: JAX's default backend is the machine's best, whatever was chosen.
    """
    chosen: Any = getattr(jax.config, "jax_default_device")  # noqa: B009 - not in the stubs
    if chosen is None:
        return jax.default_backend() == "cpu"
    return (chosen if isinstance(chosen, str) else chosen.platform) == "cpu"


def devices() -> list[list[Any]]:
    """The devices of the kind that computes now, of each process of the run."""
    chosen: Any = getattr(jax.config, "jax_default_device")  # noqa: B009 - not in the stubs
    kind = None if chosen is None else chosen if isinstance(chosen, str) else chosen.platform
    found: dict[int, list[Any]] = {}
    for device in jax.devices(kind):
        found.setdefault(device.process_index, []).append(device)
    return [sorted(found[index], key=lambda device: device.id) for index in sorted(found)]


def use_device(name: str) -> None:
    """Have this process compute on the ``cpu`` or the ``gpu``; ``auto`` leaves the choice to JAX.

    Raises ``ConfigError`` where there is no such device.
    """
    if name == "auto":
        return
    if name not in ("cpu", "gpu"):
        raise ConfigError(f"`device` is {name!r}, but must be one of 'auto', 'cpu', 'gpu'.")
    try:
        device = jax.local_devices(backend=name)[0]
    except RuntimeError as error:
        there = ", ".join(str(each) for each in jax.devices())
        raise ConfigError(
            f"`device` is {name!r}, but JAX finds none; it finds {there}. For NVIDIA's, install "
            '`pip install "jax[cuda12]"` beside klamp; or leave `device=…` out.'
        ) from error
    jax.config.update("jax_default_device", device)
