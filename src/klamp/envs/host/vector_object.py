"""A vector environment given as an object: used as it is, with the rows that it has."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from gymnasium.vector import VectorEnv

from klamp.envs.device.source import only_auto
from klamp.envs.host.interface import HostEnvironments
from klamp.envs.host.vector import VectorEnvironments
from klamp.errors import ConfigError
from klamp.runtime.seeding import EnvironmentSeeds, Purpose


@dataclass(frozen=True)
class VectorObjectSource:
    """``EnvironmentSource`` of one object, which cannot be made again, and stays open."""

    name: str
    title: str
    vector: VectorEnv[Any, Any, Any]
    env_kwargs: Mapping[str, Any] = field(default_factory=dict[str, Any])

    exact = True
    wrappers: tuple[str, ...] = ()
    one: None = None
    """No copy can be stepped by itself."""

    @property
    def rows(self) -> int:
        """The rows that it has."""
        return self.vector.num_envs

    def device(self, vectorization: str) -> None:
        """It is stepped on the host."""
        only_auto(self.title, vectorization)

    def together(self, num_envs: int, vectorization: str) -> bool:
        """All rows are one object."""
        return True

    def host(
        self,
        num_envs: int,
        seeds: EnvironmentSeeds,
        *,
        vectorization: str = "auto",
        step_limit_s: float = 60.0,
    ) -> HostEnvironments:
        """The object, about to be reset; ``num_envs`` must be its own where it is trained on."""
        only_auto(self.title, vectorization)
        if seeds.purpose == Purpose.EVALUATE_WHILE_TRAINING:
            raise ConfigError(
                "`eval_interval` wants environments besides those of the training, but "
                f"`{self.title}` was given as an object, of which there is one. Give its class, or "
                "a function of `num_envs` that makes one; or leave `eval_interval` out and "
                "evaluate afterwards, by `klamp.evaluate(policy, environment)`."
            )
        if seeds.purpose == Purpose.EPISODE and num_envs != self.rows:
            raise ConfigError(
                f"`num_envs` of Settings is {num_envs}, but the vector environment `{self.title}` "
                f"that was given has {self.rows} rows. Leave `num_envs` out, or make it with as "
                "many rows."
            )
        return VectorEnvironments(self.vector, self.title, seeds, close=lambda: None)
