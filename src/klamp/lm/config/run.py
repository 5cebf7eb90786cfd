"""A whole run of a language model: what it is trained in, the algorithm and the settings."""

from dataclasses import dataclass, field, fields
from typing import Any

from klamp.config.algorithms import (
    AlgorithmConfig,
    algorithm_class,
    algorithm_name,
    check_algorithm,
)
from klamp.config.algorithms.traits import traits_of
from klamp.config.environment_name import LANGUAGE
from klamp.config.settings import BOOKKEEPING
from klamp.config.validation import require
from klamp.errors import ConfigError, closest, shown
from klamp.lm.config.settings import Settings


@dataclass(frozen=True)
class Configuration:
    """All that is needed to build a language-model run again; what `config.json` holds."""

    task: str
    """A built-in task, or the folder of a model."""
    algorithm: AlgorithmConfig
    """The update and its settings."""
    settings: Settings = field(default_factory=Settings)
    """What all algorithms share."""
    data: str | None = None
    """Of a model of your own: the file of its rows; None for rows that were given as objects."""
    reward: tuple[str, ...] = ()
    """The reward functions, as ``module:name``."""
    reward_weights: tuple[float, ...] | None = None
    """One number for each of these; None for 1 each."""
    text_environment: str | None = None
    """What the model talks with, as ``module:name``."""

    def __post_init__(self) -> None:
        """Check what no part can see alone."""
        check_algorithm(self.algorithm)
        settings = self.settings
        natural = traits_of(self.algorithm).whole_batch
        expected = "'reward' with TRPO and NPG, whose step maximises the surrogate alone"
        require(
            not natural or settings.reference_kl == "reward", settings, "reference_kl", expected
        )
        self._check_shards()

    def _check_shards(self) -> None:
        """Minibatches are equal shares of all shards."""
        settings, parts = self.settings, list[tuple[Any, str]]()
        if hasattr(self.algorithm, "minibatch_size"):
            parts.append((self.algorithm, "minibatch_size"))
        if settings.critic:
            parts.append((settings, "critic_minibatch_size"))
        for part, name in parts:
            size = min(getattr(part, name), settings.completions)
            equal = f"a multiple of {settings.shards}, for equal shares of as many shards"
            require(size % settings.shards == 0, part, name, equal)

    @property
    def env(self) -> str:
        """As tables and folders name what the policy acts in."""
        return LANGUAGE + self.task

    @property
    def batch_in_words(self) -> str:
        """How large a batch is, as the heading of a run says it."""
        return f"{self.settings.prompts} prompts × {self.settings.generations} completions"

    def to_dict(self) -> dict[str, Any]:
        """One flat JSON object: `env`, `algo`, then every setting under its own name."""
        flat: dict[str, Any] = {"env": self.env, "algo": algorithm_name(self.algorithm)}
        for part in (self.settings, self.algorithm):
            flat |= {item.name: getattr(part, item.name) for item in fields(part)}
        own = {name: getattr(self, name) for name in OWN}
        return flat | {name: value for name, value in own.items() if value}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "Configuration":
        """The inverse of ``to_dict``; every key must be known and every value valid."""
        rest = {key: value for key, value in data.items() if key not in BOOKKEEPING}
        env, name = rest.pop("env", None), rest.pop("algo", None)
        if not (isinstance(env, str) and env.startswith(LANGUAGE)):
            raise ConfigError(
                f"The configuration is of {shown(env)}; expected a language-model run, whose `env` "
                f"begins with `{LANGUAGE}`."
            )
        kind = algorithm_class(name)
        own, shared = ({item.name for item in fields(of)} for of in (kind, Settings))
        refuse_unknown(rest, own | shared | set(OWN))
        told = {key: _frozen(rest[key]) for key in set(OWN) & set(rest)}
        return cls(
            env.removeprefix(LANGUAGE),
            kind(**{key: rest[key] for key in own & set(rest)}),
            Settings(**{key: rest[key] for key in shared & set(rest)}),
            **told,
        )


OWN = ("data", "reward", "reward_weights", "text_environment")
"""What a run of a model of the user's own has besides."""


def _frozen(value: Any) -> Any:
    """A list of JSON as the tuple that it was."""
    return tuple(value) if isinstance(value, list) else value


def refuse_unknown(given: dict[str, Any], known: set[str]) -> None:
    """Raise ``ConfigError`` where a name is no setting."""
    for key in sorted(set(given) - known):
        raise ConfigError(
            f"There is no setting {shown(key)} of this run.{closest(key, sorted(known))} Expected "
            "those of `klamp.lm.Settings` and of the algorithm."
        )
