"""A whole run: the environment, the algorithm and the settings, checked together."""

from dataclasses import dataclass, field, fields, replace
from typing import Any, Protocol

from klamp.config.algorithms import (
    AlgorithmConfig,
    algorithm_class,
    algorithm_name,
    check_algorithm,
    final_values,
)
from klamp.config.algorithms.traits import traits_of
from klamp.config.env_kwargs import checked_env_kwargs
from klamp.config.environment_name import LANGUAGE, usual_wrappers
from klamp.config.settings import BOOKKEEPING, Settings
from klamp.config.validation import require
from klamp.errors import ConfigError, closest, printable, shown

NAME_LIMIT = 300
"""Letters that the name of an environment, of a function that builds networks, or of a checkpoint's
folder may have."""

BESIDE = ("network", "start_from", "start_from_sha256")
"""Keys that a configuration may have besides settings, where they are not None."""


class KeptSettings(Protocol):
    """The settings that recorder and reporters need, whatever a run trains."""

    @property
    def steps(self) -> int:
        """Steps to train for."""
        ...

    @property
    def seed(self) -> int:
        """The seed of the run's random numbers."""
        ...

    @property
    def schedule_steps(self) -> int | None:
        """Steps over which schedules reach their end; None: all of the run's."""
        ...

    @property
    def checkpoint_interval(self) -> int:
        """Steps between two checkpoints."""
        ...

    @property
    def keep_checkpoint_every(self) -> int:
        """One of every so many checkpoints is kept for good; 0: none."""
        ...

    @property
    def eval_interval(self) -> int | None:
        """Steps between two evaluations; None: none are made."""
        ...

    @property
    def stop_at_return(self) -> float | None:
        """The mean return that ends the run; None: none does."""
        ...

    @property
    def stop_on_plateau(self) -> int | None:
        """Mean returns in a row without a new highest one that end the run; None: none do."""
        ...


class Configuration(Protocol):
    """A run's configuration, whatever it trains: what recorder, reporters and folders read."""

    @property
    def env(self) -> str:
        """The name of the environment or task."""
        ...

    @property
    def algorithm(self) -> AlgorithmConfig:
        """The algorithm's config."""
        ...

    @property
    def settings(self) -> KeptSettings:
        """The settings that all algorithms share."""
        ...

    @property
    def batch_in_words(self) -> str:
        """The size of a batch, for the heading of a run."""
        ...

    def to_dict(self) -> dict[str, Any]:
        """The content of `config.json`."""
        ...


def _is_name(value: Any) -> bool:
    """Whether something may be the name of an environment or of a function."""
    return isinstance(value, str) and 0 < len(value) <= NAME_LIMIT and value.isprintable()


def _frozen(value: Any) -> Any:
    """A list of JSON as the tuple that it was."""
    return tuple(map(_frozen, value)) if isinstance(value, list) else value  # pyright: ignore


def check_environment_name(env: object) -> str:
    """The name of an environment; ``ConfigError`` where it is not given by its name."""
    if not isinstance(env, str) or not _is_name(env):
        found = printable(" ".join(repr(env).split()), NAME_LIMIT)
        raise ConfigError(
            f"The environment is {found}, but must be a name: a Gymnasium id such as "
            "'CartPole-v1', or 'module:id'. For an environment of your own give its class, or a "
            "function that makes one, so that each copy is made anew; or register it by "
            "`gymnasium.register(id=…, entry_point=…)`, and give its id."
        )
    return env


def _check_wrapper_names(names: Any) -> None:
    """Raise ``ConfigError`` where recorded wrappers are no list of names."""
    if not isinstance(names, list | tuple) or not all(map(_is_name, names)):
        raise ConfigError(f"`wrappers` of the configuration is {shown(names)}, no list of names.")


def check_sizes(algorithm: AlgorithmConfig, settings: Settings) -> None:
    """Raise ``ConfigError`` where steps, rollout and minibatches do not fit together."""
    batch = settings.batch
    total = f"num_envs × rollout_length = {settings.num_envs} × {settings.rollout_length} = {batch}"
    one_rollout = f"at least one rollout, {total}; or lower one of these"
    require(settings.steps >= batch, settings, "steps", one_rollout)
    scheduled = settings.schedule_steps is None or final_values(algorithm)
    require(bool(scheduled), settings, "schedule_steps", "unset where nothing has a final value")
    normalization = settings.advantage_normalization
    alone = "'off' where a batch has one step: one sample cannot be standardised"
    require(batch > 1 or normalization == "off", settings, "advantage_normalization", alone)
    own = [(algorithm, "minibatch_size")] if hasattr(algorithm, "minibatch_size") else []
    fits_critic = traits_of(algorithm).critic == "fit"
    for part, name in [*own, *([(settings, "critic_minibatch_size")] if fits_critic else [])]:
        size, usual = getattr(part, name), type(part).__dataclass_fields__[name].default
        # A batch below the size that nobody chose is taken whole.
        require(size <= batch or size == usual, part, name, f"at most the batch, {total}")
        shorter = f"at least one sequence of {settings.sequence} steps (`sequence_length`)"
        require(size >= settings.sequence, part, name, shorter)
        least = settings.shards * settings.sequence
        equal = f"a multiple of {least}, for equal shares of the {settings.shards} shards"
        require(settings.shards == 1 or min(size, batch) % least == 0, part, name, equal)
    if normalization == "minibatch" and own and settings.sequence == 1:
        size = min(getattr(algorithm, "minibatch_size"), batch)  # noqa: B009 - where it has one
        more = "with `advantage_normalization` 'minibatch', for one sample cannot be standardised"
        require(size > 1, algorithm, "minibatch_size", f"at least 2 {more}")
        left = f"a size that leaves no single sample over ({total}) {more}"
        require(batch % size != 1, algorithm, "minibatch_size", left)


@dataclass(frozen=True)
class RunConfig:
    """All that is needed to build a run again; what `config.json` holds."""

    env: str
    """The environment by name: a Gymnasium id, `module:id`, or `factory:module:name` of a class."""
    algorithm: AlgorithmConfig
    """The algorithm's config."""
    settings: Settings = field(default_factory=Settings)
    """The settings that all algorithms share."""
    network: str | None = None
    """The function that builds networks of the user's own, as ``module:name``."""
    env_kwargs: dict[str, Any] = field(default_factory=dict[str, Any])
    """Arguments of the environment's constructor, as JSON holds them."""
    wrappers: tuple[str, ...] = ()
    """The environment's wrappers, the innermost first: names, or ``module:name``."""
    start_from: str | None = None
    """The checkpoint whose parameters the run began with."""
    start_from_sha256: str | None = None
    """The sum of that checkpoint's arrays."""

    def __post_init__(self) -> None:
        """Check settings against each other; set those that the algorithm implies."""
        check_environment_name(self.env)
        check_algorithm(self.algorithm)
        object.__setattr__(self, "env_kwargs", checked_env_kwargs(self.env_kwargs))
        _check_wrapper_names(self.wrappers)
        object.__setattr__(self, "wrappers", tuple(self.wrappers))
        implied = traits_of(self.algorithm).implied_settings
        if implied:
            object.__setattr__(self, "settings", replace(self.settings, **implied))
        check_sizes(self.algorithm, self.settings)

    @property
    def batch_in_words(self) -> str:
        """The size of a batch, for the heading of a run."""
        return f"{self.settings.num_envs} environments × {self.settings.rollout_length} steps"

    def to_dict(self) -> dict[str, Any]:
        """One flat JSON object: `env`, `algo`, then every setting under its own name."""
        flat: dict[str, Any] = {"env": self.env, "algo": algorithm_name(self.algorithm)}
        for part in (self.settings, self.algorithm):
            flat |= {item.name: getattr(part, item.name) for item in fields(part)}
        flat["hidden_sizes"] = list(self.settings.hidden_sizes)
        given: dict[str, Any] = {name: getattr(self, name) for name in BESIDE}
        given |= {"env_kwargs": self.env_kwargs, "wrappers": list(self.wrappers)}
        # Without the wrappers that its environment usually has: said, or a reader adds them.
        bare = {"wrappers": []} if usual_wrappers(self.env) and not self.wrappers else {}
        return flat | bare | {name: value for name, value in given.items() if value}

    @classmethod
    def from_dict(cls, data: dict[str, Any], own_algorithm: type[Any] | None = None) -> "RunConfig":
        """The inverse of ``to_dict``; every key must be known and every value valid.

        ``own_algorithm`` is the class of a user's own algorithm, where no module holds it.
        """
        rest = dict(data)
        env, name = rest.pop("env", None), rest.pop("algo", None)
        for other in BOOKKEEPING:
            rest.pop(other, None)
        beside = {name: rest.pop(name, None) for name in BESIDE}
        env_kwargs, wrappers = rest.pop("env_kwargs", {}), rest.pop("wrappers", ())
        if not isinstance(env, str):
            raise ConfigError(
                f"The configuration names the environment {shown(env)}; expected a string."
            )
        if env.startswith(LANGUAGE):
            raise ConfigError(
                f"This run, {shown(env)}, is of a language model, which `klamp.lm.load` and "
                "`klamp.lm.resume` take."
            )
        for key, value in beside.items():
            if value is not None and not _is_name(value):
                raise ConfigError(f"`{key}` of the configuration is {shown(value)}, no name.")
        kind = algorithm_class(name, own_algorithm)
        own = {item.name for item in fields(kind)}
        shared = {item.name for item in fields(Settings)}
        unknown = sorted(set(rest) - own - shared)
        if unknown:
            first = ", ".join(shown(name).strip("'") for name in unknown[:5])
            more = f" and {len(unknown) - 5} more" if len(unknown) > 5 else ""
            raise ConfigError(
                f"The configuration has unknown settings: {first}{more}."
                f"{closest(unknown[0], own | shared)} Expected those of Settings and "
                f"{kind.__name__}."
            )
        return cls(
            env=env,
            algorithm=kind(**{key: _frozen(rest[key]) for key in own & set(rest)}),
            settings=Settings(**{key: rest[key] for key in shared & set(rest)}),
            env_kwargs=env_kwargs,
            wrappers=wrappers,
            **beside,
        )
