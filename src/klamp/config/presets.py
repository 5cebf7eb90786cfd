"""Tuned settings by algorithm and environment, and sound defaults for all others.

Presets are data, and ``config.json`` records every setting, so that a run does not depend on a
preset that changed later.
"""

from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields, replace
from typing import Any

from klamp.config.algorithms import ALGORITHMS, AlgorithmConfig, algorithm_name, check_algorithm
from klamp.config.algorithms.own import own_class
from klamp.config.algorithms.traits import traits_of
from klamp.config.dialects import our_name
from klamp.config.environment_name import task_of
from klamp.config.run import RunConfig, check_environment_name
from klamp.config.settings import Settings
from klamp.config.unused import by_choices, refuse_unused
from klamp.config.validation import require
from klamp.errors import ConfigError, closest

Values = dict[str, Any]

_SCALED: Values = {"normalize_observation": True}
OTHERS: Values = {**_SCALED, "normalize_reward": True}
"""Settings of every other task: rewards may have any unit."""
_ROBOT: Values = {**OTHERS, "steps": 1_000_000}
# A landing is worth 100 and comes hundreds of steps after what decides it.
_LANDER: Values = {**OTHERS, "steps": 500_000, "discount": 0.999}

SHARED: dict[str, Values] = {
    "CartPole": {"steps": 100_000},
    "Acrobot": {"steps": 200_000, **_SCALED},
    "MountainCar": {"steps": 500_000, **_SCALED},
    "Pendulum": {"steps": 200_000, "discount": 0.9, **_SCALED},
    # With log σ = 0 one run of twelve never comes to the flag, and learns to stand still.
    "MountainCarContinuous": {
        "steps": 100_000,
        **_SCALED,
        "discount": 0.999,
        "initial_log_std": 0.5,
    },
    "BipedalWalker": {**_ROBOT},
    "LunarLander": {**_LANDER},
    "LunarLanderContinuous": {**_LANDER, "initial_log_std": -0.5},
    "HalfCheetah": {**_ROBOT},
    "Hopper": {**_ROBOT},
    "Walker2d": {**_ROBOT},
    "Ant": {**_ROBOT},
    "Humanoid": {**_ROBOT},
    "Reacher": {**_ROBOT},
    "Pusher": {**_ROBOT},
    "InvertedDoublePendulum": {**_ROBOT},
    "InvertedPendulum": {**_ROBOT, "steps": 300_000},
    "Swimmer": {**_ROBOT, "discount": 0.9999},
    # All games of Atari: one network of convolutions, on 8 × 128 steps (arXiv:1707.06347, table 5).
    "ALE": {"steps": 10_000_000, "rollout_length": 128, "shared_network": True},
}
"""Settings of a task, whatever its version, for every algorithm."""

OWN: dict[tuple[str, str], Values] = {
    # REINFORCE has no λ.
    **{
        (task, algo): {"trace_decay": 0.98}
        for task in ("MountainCar", "LunarLander", "LunarLanderContinuous")
        for algo in ALGORITHMS
        if algo != "reinforce"
    },
    # Six action dimensions: a KL per state of 0.04 is what others print as 0.007.
    ("HalfCheetah", "trpo"): {"max_kl": 0.04, "initial_log_std": -1.0},
    # Its actions end at ±1: with log σ = 0 a third of them are drawn beyond.
    # Equal steps of Adam are longer steps of the policy as σ falls (docs/tuning.md).
    ("HalfCheetah", "ppo"): {"final_learning_rate": 0.0, "initial_log_std": -1.0},
    # Large actions cost more than walking brings: 569 after 1,000,000 steps with log σ = 0.
    ("Ant", "ppo"): {"final_learning_rate": 0.0, "initial_log_std": -1.0},
    ("Ant", "trpo"): {"max_kl": 0.04, "initial_log_std": -1.0},
    ("Walker2d", "ppo"): {"final_learning_rate": 0.0},
    ("Hopper", "ppo"): {"final_learning_rate": 0.0},
    ("Hopper", "trpo"): {"max_kl": 0.05, "critic_epochs": 20},
    # Smaller and shorter steps stay with a slow gait: 147 after 1,000,000 steps.
    ("Swimmer", "ppo"): {
        "num_envs": 4,
        "rollout_length": 1024,
        "minibatch_size": 256,
        "learning_rate": 6e-4,
        "trace_decay": 0.98,
    },
    ("CartPole", "npg"): {"steps": 150_000, "rollout_length": 128},
    ("CartPole", "ppo-kl"): {"steps": 150_000, "final_learning_rate": 0.0, "discount": 0.98},
    # One step per batch, so many small batches; the step size has to fall, or late steps undo all.
    # Raw returns near 100 make the value loss most of the joint gradient, and its clipping.
    ("CartPole", "a2c"): {
        "steps": 500_000,
        "rollout_length": 64,
        "normalize_reward": True,
        "learning_rate": 2e-3,
        "final_learning_rate": 0.0,
    },
    ("CartPole", "reinforce"): {
        "steps": 300_000,
        "rollout_length": 128,
        "learning_rate": 3e-3,
    },
    ("ALE", "ppo"): {
        "epochs": 4,
        "minibatch_size": 256,
        "clip": 0.1,
        "learning_rate": 2.5e-4,
        "final_learning_rate": 0.0,
        "entropy_coefficient": 0.01,
    },
    ("Pendulum", "ppo-kl"): {"learning_rate": 1e-3, "final_learning_rate": 0.0},
}
"""Settings of a task for one algorithm, over those of ``SHARED``."""


INSTEAD = {"adaptive_learning_rate": "final_learning_rate"}
"""A setting that is given, and the one of a preset that it stands in the place of."""


def preset(env: str, algo: str | None) -> Values:
    """The values that the preset sets for an environment, and for an algorithm, if named."""
    task = task_of(env)
    own = {} if algo is None else OWN.get((task, algo), {})
    return SHARED.get(task, OTHERS) | own


def _left_of_preset(env: str, algo: str | None, given: Mapping[str, Any]) -> Values:
    """The preset without what something that was given stands in the place of."""
    replaced = {other for key, other in INSTEAD.items() if given.get(key) is not None}
    return {key: value for key, value in preset(env, algo).items() if key not in replaced}


def configure(
    env: str,
    algorithm: AlgorithmConfig | str | None,
    given: Values,
    *,
    env_kwargs: Mapping[str, Any] | None = None,
    wrappers: Sequence[str] = (),
) -> RunConfig:
    """The configuration of a run: defaults, then the preset, then what the caller gave.

    An algorithm given by name, or not at all (PPO), gets the preset's settings. One given as a
    config is taken as it is, and of the preset only what holds for the environment whatever the
    algorithm: values that were tuned for another config do not apply to it. Raises ``ConfigError``
    on an unknown name or setting, and on one that would do nothing.
    """
    check_environment_name(env)
    name = algorithm if isinstance(algorithm, str) else None
    if algorithm is None:
        name = "ppo"
    chosen: Any = _with_defaults(algorithm_called(name)) if name is not None else algorithm
    check_algorithm(chosen)
    values = _left_of_preset(env, name, given)
    shared = {item.name for item in fields(Settings)}
    own = {item.name for item in fields(chosen)}
    allowed = shared | own if name is not None else shared
    for key in given:
        refuse_unknown(key, chosen, allowed)
    if name is not None:
        merged = values | given
        chosen = replace(chosen, **{key: merged[key] for key in own & set(merged)})
    traits = traits_of(chosen)
    merged = {**traits.implied_settings, **values, **given}
    settings = Settings(**{key: merged[key] for key in shared & set(merged)})
    for key, value in traits.implied_settings.items():
        decided = f"{value!r}, which {traits.implied_by} stands for"
        require(getattr(settings, key) == value, settings, key, decided)
    refuse_unused(chosen, settings, by_choices(chosen, settings), values)
    return RunConfig(
        env, chosen, settings, env_kwargs=dict(env_kwargs or {}), wrappers=tuple(wrappers)
    )


def algorithm_called(name: str) -> type[Any]:
    """The class of an algorithm by its name, of a user's own where its module is imported already.

    Raises ``ConfigError`` where there is none.
    """
    if ":" in name:
        return own_class(name)
    if name not in ALGORITHMS:
        raise ConfigError(
            f"There is no algorithm `{name}`.{closest(name, list(ALGORITHMS))} "
            f"Expected one of {', '.join(ALGORITHMS)}, or `module:Class` of your own."
        )
    return ALGORITHMS[name]


def _with_defaults(kind: type[Any]) -> Any:
    """A config with its defaults; ``ConfigError`` where a user's own has a field without one."""
    for item in fields(kind):
        if item.default is MISSING and item.default_factory is MISSING:
            raise ConfigError(
                f"`{item.name}` of {kind.__name__} has no default, so the class cannot be given by "
                f"its name. Give the field one, or train in Python: `klamp.train(env, "
                f"{kind.__name__}({item.name}=…))`."
            )
    return kind()


def sources(config: RunConfig, given: Mapping[str, str]) -> dict[str, str]:
    """Where each setting of a configuration comes from.

    ``given`` has it for those that the user gave; the others are from the preset, or defaults.
    """
    algorithm, settings = config.algorithm, config.settings
    found = {item.name: "default" for part in (settings, algorithm) for item in fields(part)}
    found |= dict.fromkeys(traits_of(algorithm).implied_settings, "baseline")
    found |= dict.fromkeys(_left_of_preset(config.env, algorithm_name(algorithm), given), "preset")
    return {**found, **given}


def refuse_unknown(key: str, chosen: AlgorithmConfig, allowed: set[str]) -> None:
    """Raise ``ConfigError`` where a name is no setting: misspelt, foreign or misplaced."""
    if key in allowed:
        return
    kind, own = type(chosen).__name__, {item.name for item in fields(chosen)}
    ours = our_name(key)
    said = f"`{key}`" if ours is None else f"`{key}` is called `{ours}` here; it"
    ours = ours or key
    if ours in own - allowed:
        raise ConfigError(f"{said} belongs to the algorithm: write `klamp.{kind}({ours}=…)`.")
    if ours in allowed:
        raise ConfigError(f"There is no setting `{key}`: it is called `{ours}` here.")
    others = [of.__name__ for of in ALGORITHMS.values() if ours in of.__dataclass_fields__]
    if others:
        listed = " or ".join(others)
        raise ConfigError(f"{said} belongs to {listed}, but the algorithm is {kind}.")
    raise ConfigError(
        f"There is no setting `{key}`.{closest(key, sorted(allowed))} `help(klamp.Settings)` lists "
        f"what all algorithms share, `help(klamp.{kind})` what belongs to this one."
    )
