"""A whole run: the environment, the algorithm and the settings, checked together."""

from dataclasses import dataclass, field, fields, replace
from typing import Any

from klamp.config.algorithms import (
    ALGORITHMS,
    NPG,
    PPO,
    REINFORCE,
    TRPO,
    AlgorithmConfig,
    PPOPenalty,
    algorithm_name,
    final_values,
)
from klamp.config.settings import Settings
from klamp.config.validation import require
from klamp.errors import ConfigError, closest, printable, shown

NAME_LIMIT = 300
"""Letters that the name of an environment, of a function that builds networks, or of a checkpoint's
folder may have."""

BESIDE = ("network", "start_from", "start_from_sha256")
"""What a configuration may hold besides settings, where it is not None."""


def _is_name(value: Any) -> bool:
    """Whether something may be the name of an environment or of a function."""
    return isinstance(value, str) and 0 < len(value) <= NAME_LIMIT and value.isprintable()


def check_environment_name(env: Any) -> None:
    """Raise ``ConfigError`` where an environment is not given by its name."""
    if not _is_name(env):
        found = printable(" ".join(repr(env).split()), NAME_LIMIT)
        raise ConfigError(
            f"The environment is {found}, but must be a name: a Gymnasium id such as "
            "'CartPole-v1', or 'module:id'. Register an environment of your own by "
            "`gymnasium.register(id=…, entry_point=…)`, so that each copy is made anew, and give "
            "its id."
        )


def check_algorithm(algorithm: Any) -> None:
    """Raise ``ConfigError`` where an algorithm is not the config of one."""
    if type(algorithm) not in ALGORITHMS.values():
        raise ConfigError(
            f"The algorithm is {' '.join(repr(algorithm).split())}, but must be a config such as "
            f"`klamp.TRPO(max_kl=0.01)`, or one of the names {', '.join(ALGORITHMS)}."
        )


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
    fits_critic = isinstance(algorithm, REINFORCE | NPG | TRPO)
    parts = [(algorithm, "minibatch_size")] if isinstance(algorithm, PPO | PPOPenalty) else []
    for part, name in [*parts, *([(settings, "critic_minibatch_size")] if fits_critic else [])]:
        size, usual = getattr(part, name), type(part).__dataclass_fields__[name].default
        # A batch below the size that nobody chose is taken whole.
        require(size <= batch or size == usual, part, name, f"at most the batch, {total}")
        shorter = f"at least one sequence of {settings.sequence} steps (`sequence_length`)"
        require(size >= settings.sequence, part, name, shorter)
    if normalization == "minibatch" and parts and settings.sequence == 1:
        size = min(getattr(algorithm, "minibatch_size"), batch)  # noqa: B009 - of two types
        more = "with `advantage_normalization` 'minibatch', for one sample cannot be standardised"
        require(size > 1, algorithm, "minibatch_size", f"at least 2 {more}")
        left = f"a size that leaves no single sample over ({total}) {more}"
        require(batch % size != 1, algorithm, "minibatch_size", left)


@dataclass(frozen=True)
class RunConfig:
    """All that is needed to build a run again; what `config.json` holds."""

    env: str
    """The environment: a Gymnasium id, or `module:id`."""
    algorithm: AlgorithmConfig
    """The update and its settings."""
    settings: Settings = field(default_factory=Settings)
    """What all algorithms share."""
    network: str | None = None
    """The function that built networks of the user's own, by name; it is needed again to load."""
    start_from: str | None = None
    """The checkpoint whose parameters the run began with."""
    start_from_sha256: str | None = None
    """The sum of that checkpoint's arrays."""

    def __post_init__(self) -> None:
        """Check what no part can see alone; REINFORCE's settings become those of its baseline."""
        check_environment_name(self.env)
        check_algorithm(self.algorithm)
        if isinstance(self.algorithm, REINFORCE):
            estimated = replace(self.settings, **self.algorithm.estimates)
            object.__setattr__(self, "settings", estimated)
        check_sizes(self.algorithm, self.settings)

    def to_dict(self) -> dict[str, Any]:
        """One flat JSON object: `env`, `algo`, then every setting under its own name."""
        flat: dict[str, Any] = {"env": self.env, "algo": algorithm_name(self.algorithm)}
        for part in (self.settings, self.algorithm):
            flat |= {item.name: getattr(part, item.name) for item in fields(part)}
        flat["hidden_sizes"] = list(self.settings.hidden_sizes)
        for name in BESIDE:
            if (value := getattr(self, name)) is not None:
                flat[name] = value
        return flat

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "RunConfig":
        """The inverse of ``to_dict``; every key must be known and every value valid."""
        rest = dict(data)
        env, name = rest.pop("env", None), rest.pop("algo", None)
        for other in ("klamp_version", "signature"):
            rest.pop(other, None)
        beside = {name: rest.pop(name, None) for name in BESIDE}
        if not isinstance(env, str) or not isinstance(name, str) or name not in ALGORITHMS:
            raise ConfigError(
                f"The configuration names the environment {shown(env)} and the algorithm "
                f"{shown(name)}; expected a string and one of {', '.join(ALGORITHMS)}."
            )
        for key, value in beside.items():
            if value is not None and not _is_name(value):
                raise ConfigError(f"`{key}` of the configuration is {shown(value)}, no name.")
        kind = ALGORITHMS[name]
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
            algorithm=kind(**{key: rest[key] for key in own & set(rest)}),
            settings=Settings(**{key: rest[key] for key in shared & set(rest)}),
            **beside,
        )
