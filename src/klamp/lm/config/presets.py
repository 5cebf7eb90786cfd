"""Presets by the names that people search for, and the way from what was given to a run."""

from dataclasses import fields
from typing import Any

from klamp.config.algorithms import AlgorithmConfig, algorithm_class, check_algorithm
from klamp.errors import ConfigError, closest, shown
from klamp.lm.config.run import Configuration, refuse_unknown
from klamp.lm.config.settings import Settings

_BOLD: dict[str, Any] = {"learning_rate": 1e-3, "final_learning_rate": 1e-4, "max_kl": 0.03}
"""Large steps at first, which are drawn back to a KL, and small ones at the end."""

_GUESS: dict[str, Any] = {
    **_BOLD,
    "max_kl": 0.05,
    "truncation": "end",
    "entropy_coefficient": 0.02,
}

USUAL: dict[str, dict[str, Any]] = {
    "sort": {"steps": 120_000},
    "addition": {**_BOLD, "steps": 150_000},
    "walks": {**_BOLD, "steps": 30_000, "truncation": "end", "reference_coefficient": 0.01},
    "guess": {**_GUESS, "steps": 260_000},
    # Smaller batches settle, with some seeds, for a search that misses numbers.
    "guess-32": {**_GUESS, "prompts": 512, "minibatch_size": 128, "steps": 1_200_000},
    "memory": {**_BOLD, "steps": 130_000},
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

TOGETHER: dict[tuple[str, str], dict[str, Any]] = {
    # All operations of an episode share its advantage, whose noise more episodes take out.
    ("memory", "grpo"): {
        "prompts": 64,
        "minibatch_size": 128,
        "entropy_coefficient": 0.01,
        "steps": 330_000,
    },
}
"""What a task wants under one preset, over what either of them wants."""

DESCENT: dict[str, Any] = {"epochs": 4, "minibatch_size": 64, "learning_rate": 3e-4}
"""What updates by minibatch epochs have here in the place of their own defaults."""


def configure(
    task: str,
    algorithm: AlgorithmConfig | str | None,
    given: dict[str, Any],
    usual: dict[str, Any] | None = None,
    own: dict[str, Any] | None = None,
) -> Configuration:
    """The configuration of a run: defaults, the task's, the preset's, both's, what was given.

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
        values |= (usual or {}) | PRESETS[name][1] | TOGETHER.get((task, name), {})
        merged = values | given
        chosen = kind(**{key: merged[key] for key in names & set(merged)})
    shared = {item.name for item in fields(Settings)}
    refuse_unknown(given, names | shared)
    merged = values | given
    settings = Settings(**{key: merged[key] for key in shared & set(merged)})
    return Configuration(task, chosen, settings, **(own or {}))


OF_CRITIC = (
    *("discount", "trace_decay", "critic_warmup", "value_hidden", "critic_epochs"),
    *("critic_minibatch_size", "critic_learning_rate", "value_coefficient"),
)
"""Settings that group advantages leave without effect."""


def refuse_idle(config: Configuration, given: dict[str, Any], built_in: bool) -> None:
    """Raise ``ConfigError`` on a setting that was given and would do nothing in this run."""
    settings = config.settings
    idle: list[tuple[bool, tuple[str, ...], str]] = [
        (
            built_in,
            ("max_new_tokens", "max_prompt_tokens", "max_turns"),
            f"the task `{config.task}` has lengths of its own",
        ),
        (not built_in, ("supervised_steps",), "a model of your own has no demonstrations"),
        (
            not settings.critic,
            OF_CRITIC,
            f"with the advantage {settings.advantage!r} there is no critic",
        ),
        (
            not settings.reference_coefficient,
            ("reference_kl",),
            "without a `reference_coefficient` there is no reference",
        ),
    ]
    for does_nothing, names, why in idle:
        for name in names:
            if does_nothing and name in given:
                raise ConfigError(
                    f"`{name}` is {shown(given[name])}, but would do nothing: {why}. Leave it out."
                )


def _descends(kind: type[Any]) -> bool:
    """Whether an algorithm makes epochs of minibatches."""
    return {"epochs", "minibatch_size"} <= {item.name for item in fields(kind)}
