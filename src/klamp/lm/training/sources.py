"""What a user gives a run of a model of their own: rows, rewards, an environment."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from klamp.errors import ConfigError
from klamp.lm.config.run import Configuration
from klamp.lm.environments.dataset import Dataset, load_dataset
from klamp.lm.environments.environment import TextEnvironment
from klamp.lm.environments.rewards import RewardFunction, Rewards
from klamp.runtime.qualified_name import find_code, qualified_name

Rows = str | Path | Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Sources:
    """As objects or by name; what a configuration recorded by name may be left out."""

    data: Rows | None = None
    """A file of JSON lines, or rows."""
    reward: tuple[RewardFunction | str, ...] = ()
    """Functions, or ``module:name`` of these."""
    reward_weights: tuple[float, ...] | None = None
    text_environment: Callable[[], TextEnvironment] | str | None = None
    """A class or function that makes one, or ``module:name`` of it."""

    def recorded(self) -> dict[str, Any]:
        """As `config.json` has them."""
        return {
            "data": str(Path(self.data).absolute()) if isinstance(self.data, str | Path) else None,
            "reward": tuple(map(_name, self.reward)),
            "reward_weights": self.reward_weights,
            "text_environment": self.text_environment and _name(self.text_environment),
        }

    def given(self) -> list[str]:
        """Which of them the user gives as objects, so that their names lead to nothing."""
        objects = {
            "reward": bool(self.reward) and not any(isinstance(f, str) for f in self.reward),
            "text_environment": callable(self.text_environment),
        }
        return [name for name, is_object in objects.items() if is_object]

    def over(self, config: Configuration) -> "Sources":
        """With what the configuration recorded in the place of what is left out."""
        return Sources(
            config.data if self.data is None else self.data,
            self.reward or config.reward,
            config.reward_weights,
            self.text_environment or config.text_environment,
        )

    def rows(self) -> Dataset:
        """The rows, checked; ``ConfigError`` where there are none."""
        if self.data is None:
            raise ConfigError(
                "No data was given. Give rows with prompts by `data=…`: a file of JSON lines, or, "
                "in Python, a sequence of mappings."
            )
        return load_dataset(self.data)

    def rewards(self) -> Rewards | None:
        """The reward functions; None where there are none. ``EnvironmentFault`` names a missing."""
        functions = tuple(
            find_code(_here(each), "reward") if isinstance(each, str) else each
            for each in self.reward
        )
        return Rewards(functions, self.reward_weights) if functions else None

    def environment(self) -> Callable[[], TextEnvironment] | None:
        """What makes one environment for each completion."""
        made = self.text_environment
        return find_code(_here(made), "text environment") if isinstance(made, str) else made


def _name(code: Any) -> str:
    return _here(code) if isinstance(code, str) else qualified_name(code)


def _here(name: str) -> str:
    """`rewards.py:correct` is the module `rewards` of the working folder.

    A file elsewhere keeps its whole path.
    """
    file, colon, inside = name.partition(":")
    if not file.endswith(".py"):
        return name.replace("/", ".")
    near = os.path.relpath(file)
    if near.startswith(os.pardir):
        return os.path.abspath(file) + colon + inside
    return near.removesuffix(".py").replace(os.sep, ".") + colon + inside
