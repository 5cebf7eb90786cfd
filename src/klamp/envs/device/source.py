"""Environments written in JAX: given as objects, or made by a library of such."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from klamp.envs.device.on_host import SteppedEnvironments
from klamp.envs.device.protocol import DeviceEnvironment
from klamp.envs.host.interface import HostEnvironments
from klamp.errors import ConfigError
from klamp.runtime.seeding import EnvironmentSeeds


@dataclass(frozen=True)
class DeviceSource:
    """``EnvironmentSource`` of one that is written in JAX."""

    name: str
    title: str
    env_kwargs: Mapping[str, Any]
    make: Callable[[], DeviceEnvironment]

    exact = True
    wrappers: tuple[str, ...] = ()
    rows: None = None
    one: None = None
    """No copy can be stepped by itself on the host."""

    @cached_property
    def environment(self) -> DeviceEnvironment:
        """The environment; raises ``EnvironmentFault`` where its library has none such."""
        return self.make()

    def device(self, vectorization: str) -> DeviceEnvironment:
        """The environment, as pure functions."""
        only_auto(self.title, vectorization)
        return self.environment

    def together(self, num_envs: int, vectorization: str) -> bool:
        """All rows are one array."""
        return True

    def host(
        self,
        num_envs: int,
        seeds: EnvironmentSeeds,
        *,
        vectorization: str = "auto",
        step_limit_s: float = 60.0,
    ) -> HostEnvironments:
        """Stepped from the host, each step one compiled call."""
        on_device = self.device(vectorization)
        return SteppedEnvironments(on_device, self.title, num_envs, seeds)


def only_auto(env: str, vectorization: str) -> None:
    """Raise ``ConfigError`` where a library steps its environments together in a way of its own."""
    if vectorization != "auto":
        raise ConfigError(
            f"`vectorization` of Settings is {vectorization!r}, but would do nothing: `{env}` is "
            "stepped together by its own library. Leave it out."
        )


def no_wrappers(env: str, wrappers: tuple[str, ...], why: str) -> None:
    """Raise ``ConfigError`` where an environment that no wrapper can hold is given one."""
    if wrappers:
        raise ConfigError(
            f"The environment `{env}` cannot be wrapped in `{wrappers[0]}`: {why}, and Gymnasium's "
            "wrappers hold a single one that is stepped on the host. Leave `wrappers` out, or do "
            "what it does in the environment itself."
        )
