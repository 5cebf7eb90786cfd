"""The settings of language-model runs: frozen dataclasses in groups, checked when made.

What they share with other runs (steps, seed, checkpoints, the fit of the critic) is the same groups
as theirs. Nothing here imports JAX, so that ``klamp lm train --help`` answers at once.
"""

from dataclasses import dataclass, field, fields
from typing import Any, Literal

from klamp.config.algorithms import (
    PPO,
    AlgorithmConfig,
    algorithm_class,
    algorithm_name,
    check_algorithm,
)
from klamp.config.algorithms.traits import traits_of
from klamp.config.environment_name import LANGUAGE
from klamp.config.settings import (
    BOOKKEEPING,
    CheckpointSettings,
    CriticSettings,
    EvaluationSettings,
    TrainingSettings,
)
from klamp.config.validation import (
    Count,
    NotNegative,
    NotNegativeInt,
    Positive,
    Share,
    check_fields,
    require,
)
from klamp.errors import ConfigError, closest, shown

Advantage = Literal["gae", "group", "group-mean", "leave-one-out"]


@dataclass(frozen=True)
class GenerationSettings:
    """What is sampled between two updates."""

    prompts: Count = 256
    """Prompts in each batch."""
    generations: Count = 1
    """Completions of each prompt; group advantages compare these, and need at least two."""
    max_prompt_tokens: Count = 512
    """Tokens that a prompt may have. A longer one is refused, never cut."""
    max_new_tokens: Count = 64
    """Tokens that the policy may sample for one prompt, in a turn; reaching this is a truncation.
    A built-in task may need fewer."""
    max_turns: Count = 8
    """Turns of a text environment before the episode is cut off."""
    temperature: Positive = 1.0
    """Logits are divided by this, when sampling and in every update: it is part of the policy."""

    def __post_init__(self) -> None:
        """Check every field."""
        check_fields(self, GenerationSettings)


@dataclass(frozen=True)
class TokenAdvantageSettings:
    """What a sampled token is worth."""

    advantage: Advantage = "gae"
    """gae: by a critic, with λ; group: (R − mean)/deviation over the completions of a prompt;
    group-mean: R − mean; leave-one-out: R less the mean of the others. The last three have no
    critic."""
    aggregation: Literal["token", "sequence", "constant"] = "token"
    """The mean over action tokens; over completions of each one's mean; or over completions of
    each one's sum by a fixed length. A scale of Â, which no KL or entropy sees."""
    discount: Share = 1.0
    """γ, the weight of a reward one token later; 0 to 1."""
    trace_decay: Share = 0.95
    """λ of generalised advantage estimation: 0 trusts the critic, 1 the sampled returns."""
    advantage_normalization: Literal["batch", "minibatch", "off"] = "batch"
    """Standardise the advantages of gae over the batch or each minibatch; those of groups are
    taken as they are."""
    truncation: Literal["bootstrap", "mask", "end"] = "bootstrap"
    """What a length limit means: V of what is there stands for the rest (with groups: as end);
    the completion is not learnt from; or it is an end like any other."""
    redraw_groups: NotNegativeInt = 0
    """Further draws of prompts in an update, at most, to replace groups whose completions all
    earned the same: dynamic sampling of DAPO (arXiv:2503.14476, §3.2). 0: none."""

    def __post_init__(self) -> None:
        """Check every field."""
        check_fields(self, TokenAdvantageSettings)


@dataclass(frozen=True)
class ReferenceSettings:
    """How the policy is held to the model that it began as."""

    reference_coefficient: NotNegative = 0.0
    """β, the price of a nat of KL(policy‖reference) for each token, exact over the vocabulary;
    where it adapts, the first one. 0: none."""
    reference_kl: Literal["reward", "loss"] = "reward"
    """Whether it is taken off each token's reward, or added to the loss with its true gradient."""
    reference_target: Positive | None = None
    """Nats a token that β adapts to: it grows by a tenth after an update above, and shrinks by one
    below; unset: β is fixed."""

    def __post_init__(self) -> None:
        """Check every field, and that an adaptive coefficient can move."""
        check_fields(self, ReferenceSettings)
        movable = self.reference_target is None or self.reference_coefficient > 0
        expected = "a number > 0 where it adapts to a reference_target (0 stays 0)"
        require(movable, self, "reference_coefficient", expected)


@dataclass(frozen=True)
class LanguageModelSettings:
    """The model of a built-in task, what is trained of it, and its critic."""

    supervised_steps: NotNegativeInt | None = None
    """Gradient steps on demonstrations that a built-in task's model begins with; unset: as many as
    the task has; 0: none."""
    adapter_rank: NotNegativeInt = 0
    """Rank of the adapters (LoRA) that alone are trained; 0: all parameters are."""
    value_hidden: Count = 64
    """Width of the critic's hidden layer, which reads the features of the policy that collected."""
    critic_warmup: NotNegativeInt = 2
    """Updates at the start that fit the critic alone."""

    def __post_init__(self) -> None:
        """Check every field."""
        check_fields(self, LanguageModelSettings)


GROUPS: dict[str, type[Any]] = {
    "training": TrainingSettings,
    "generation": GenerationSettings,
    "advantages": TokenAdvantageSettings,
    "reference": ReferenceSettings,
    "model": LanguageModelSettings,
    "critic": CriticSettings,
    "checkpoints": CheckpointSettings,
    "evaluation": EvaluationSettings,
}
"""The groups by the headings that they have in `klamp lm train --help`."""


# The fields of a dataclass come from its last base first.
@dataclass(frozen=True)
class Settings(
    EvaluationSettings,
    CheckpointSettings,
    CriticSettings,
    LanguageModelSettings,
    ReferenceSettings,
    TokenAdvantageSettings,
    GenerationSettings,
    TrainingSettings,
):
    """What all algorithms share of a language-model run. A step is a sampled token."""

    def __post_init__(self) -> None:
        """Check each group, and what concerns two of them."""
        for group in GROUPS.values():
            group.__post_init__(self)
        enough = self.advantage == "gae" or self.generations > 1
        several = f"at least 2 with the advantage {self.advantage!r}, which compares completions"
        require(enough, self, "generations", several)
        drawn = not self.redraw_groups or self.advantage != "gae"
        require(drawn, self, "redraw_groups", "0 with the advantage gae, which has no groups")

    @property
    def completions(self) -> int:
        """S, the sequences of a batch."""
        return self.prompts * self.generations

    @property
    def sequence(self) -> int:
        """Rows of a batch that belong together: a row is a sequence already."""
        return 1

    @property
    def critic(self) -> bool:
        """Whether there is one."""
        return self.advantage == "gae"

    def progress(self, step: int) -> float:
        """How far what is scheduled has come after so many steps, from 0 to 1."""
        return min(step / (self.schedule_steps or self.steps), 1.0)


USUAL: dict[str, dict[str, Any]] = {
    "sort": {"steps": 120_000},
    "addition": {"steps": 200_000},
    "walks": {"steps": 200_000, "reference_coefficient": 0.05},
    "guess": {"steps": 400_000, "entropy_coefficient": 0.03},
    "memory": {"steps": 400_000},
}
"""The built-in tasks, and what each wants that differs from defaults."""

_GROUPS: dict[str, Any] = {"generations": 8, "prompts": 32}
PRESETS: dict[str, tuple[str, dict[str, Any]]] = {
    "ppo": ("ppo", {}),
    "ppo-kl": ("ppo-kl", {}),
    "trpo": ("trpo", {"prompts": 1024, "damping": 0.1, "fisher_subsample": 4}),
    "npg": ("npg", {"prompts": 1024, "damping": 0.1, "fisher_subsample": 4}),
    "a2c": ("a2c", {}),
    "reinforce": ("reinforce", {}),
    "grpo": ("ppo", {**_GROUPS, "advantage": "group", "aggregation": "sequence"}),
    "dr-grpo": ("ppo", {**_GROUPS, "advantage": "group-mean", "aggregation": "constant"}),
    "rloo": ("ppo", {**_GROUPS, "advantage": "leave-one-out", "aggregation": "token"}),
    "dapo": (
        "ppo",
        {**_GROUPS, "advantage": "group", "clip_upper": 0.28, "redraw_groups": 3},
    ),
    "gspo": (
        "ppo",
        {
            **_GROUPS,
            "advantage": "group",
            "aggregation": "sequence",
            "ratio": "sequence",
            "clip": 3e-4,
            "clip_upper": 4e-4,
        },
    ),
    "cispo": (
        "ppo",
        {**_GROUPS, "advantage": "group", "objective": "cispo", "clip": 1.0, "clip_upper": 4.0},
    ),
}
"""By the names that people search for: the algorithm, and the settings that differ from defaults.

In each of them the KL can be bounded: ``max_kl``."""

DESCENT: dict[str, Any] = {"epochs": 4, "minibatch_size": 64, "learning_rate": 3e-4}
"""What updates by minibatch epochs have here in the place of their own defaults."""


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


def configure(
    task: str,
    algorithm: AlgorithmConfig | str | None,
    given: dict[str, Any],
    usual: dict[str, Any] | None = None,
    own: dict[str, Any] | None = None,
) -> Configuration:
    """The configuration of a run: defaults, the task's, then the preset's, then what was given.

    ``algorithm`` is the name of one of ``PRESETS`` (by default ppo), or a config such as
    ``klamp.PPO(max_kl=0.01)``, taken as it is. ``usual`` is what the task wants; ``own`` are the
    fields of ``OWN``.
    """
    name = "ppo" if algorithm is None else algorithm if isinstance(algorithm, str) else None
    if name is None:
        chosen: Any = algorithm
        check_algorithm(chosen)
        values = dict(usual or {})
        names: set[str] = set()
    else:
        if name not in PRESETS:
            raise ConfigError(
                f"There is no algorithm `{name}` for language models.{closest(name, PRESETS)} "
                f"Expected one of {', '.join(PRESETS)}."
            )
        kind = algorithm_class(PRESETS[name][0])
        names = {item.name for item in fields(kind)}
        values = {key: value for key, value in DESCENT.items() if _descends(kind)}
        values |= (usual or {}) | PRESETS[name][1]
        merged = values | given
        chosen = kind(**{key: merged[key] for key in names & set(merged)})
    shared = {item.name for item in fields(Settings)}
    refuse_unknown(given, names | shared)
    merged = values | given
    settings = Settings(**{key: merged[key] for key in shared & set(merged)})
    return Configuration(task, chosen, settings, **(own or {}))


def _descends(kind: type[Any]) -> bool:
    """Whether an algorithm makes epochs of minibatches."""
    return {"epochs", "minibatch_size"} <= {item.name for item in fields(kind)}


DEFAULT = PPO(**DESCENT)
"""What is trained with where nothing is said."""
