"""Tuned settings by algorithm and environment, and sound defaults for all others.

A preset is a function of nothing: the settings it returns are data, and ``config.json`` records
every one of them, so a run never depends on a preset that changed later.
"""

from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from typing import Any

from klamp.config.algorithms import ALGORITHMS, REINFORCE, AlgorithmConfig
from klamp.config.run import RunConfig, check_algorithm, check_environment_name
from klamp.config.settings import Settings
from klamp.config.unused import by_choices, refuse_unused
from klamp.config.validation import require
from klamp.errors import ConfigError, closest

Values = dict[str, Any]

_NORMALIZED: Values = {"normalize_observation": True}
_MUJOCO: Values = {"normalize_observation": True, "normalize_reward": True, "steps": 1_000_000}

SHARED: dict[str, Values] = {
    "CartPole-v1": {"steps": 100_000},
    "Acrobot-v1": {"steps": 200_000, **_NORMALIZED},
    "MountainCar-v0": {"steps": 500_000, **_NORMALIZED},
    "Pendulum-v1": {"steps": 200_000, "discount": 0.9, **_NORMALIZED},
    "MountainCarContinuous-v0": {"steps": 100_000, **_NORMALIZED, "discount": 0.999},
    "HalfCheetah-v5": {**_MUJOCO},
    "Hopper-v5": {**_MUJOCO},
    "Walker2d-v5": {**_MUJOCO},
    "Ant-v5": {**_MUJOCO},
    "Swimmer-v5": {**_MUJOCO, "discount": 0.9999},
}
"""Settings of an environment for every algorithm."""

OWN: dict[tuple[str, str], Values] = {
    # REINFORCE has no λ.
    **{
        ("MountainCar-v0", algo): {"trace_decay": 0.98}
        for algo in ALGORITHMS
        if algo != "reinforce"
    },
    # Six action dimensions: a KL per state of 0.04 is what others print as 0.007.
    ("HalfCheetah-v5", "trpo"): {"max_kl": 0.04},
    ("CartPole-v1", "npg"): {"steps": 150_000, "rollout_length": 128},
    ("CartPole-v1", "ppo-kl"): {"steps": 150_000, "final_learning_rate": 0.0, "discount": 0.98},
    # One step a batch, so many small batches; the step size has to fall, or late steps undo all.
    # Raw returns near 100 make the value loss most of the joint gradient, and its clipping.
    ("CartPole-v1", "a2c"): {
        "steps": 500_000,
        "rollout_length": 64,
        "normalize_reward": True,
        "learning_rate": 2e-3,
        "final_learning_rate": 0.0,
    },
    ("CartPole-v1", "reinforce"): {
        "steps": 300_000,
        "rollout_length": 128,
        "learning_rate": 3e-3,
    },
    ("Pendulum-v1", "ppo-kl"): {"learning_rate": 1e-3, "final_learning_rate": 0.0},
}
"""Settings of an environment for one algorithm, over those of ``SHARED``."""


def preset(env: str, algo: str | None) -> Values:
    """All values that the preset of an environment sets, by name, and of an algorithm, if named."""
    # The same task in another library wants the same settings.
    task = env.removeprefix("gymnax:").removeprefix("phys2d/").removeprefix("envpool:")
    own = {} if algo is None else OWN.get((task, algo), {})
    return SHARED.get(task, _NORMALIZED) | own


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
    algorithm: values that were tuned together with those of another config are none of its own.
    Raises ``ConfigError`` on an unknown name or setting, and on one that would do nothing.
    """
    check_environment_name(env)
    name = algorithm if isinstance(algorithm, str) else None
    if algorithm is None:
        name = "ppo"
    if name is not None and name not in ALGORITHMS:
        raise ConfigError(
            f"There is no algorithm `{name}`.{closest(name, list(ALGORITHMS))} "
            f"Expected one of {', '.join(ALGORITHMS)}."
        )
    chosen: Any = ALGORITHMS[name]() if name is not None else algorithm
    check_algorithm(chosen)
    values = preset(env, name)
    shared = {item.name for item in fields(Settings)}
    own = {item.name for item in fields(chosen)}
    allowed = shared | own if name is not None else shared
    for key in given:
        if key not in allowed:
            raise ConfigError(_unknown(key, own, sorted(allowed), type(chosen).__name__))
    if name is not None:
        merged = values | given
        chosen = replace(chosen, **{key: merged[key] for key in own & set(merged)})
    stands_for = chosen.estimates if isinstance(chosen, REINFORCE) else {}
    merged = stands_for | values | given
    settings = Settings(**{key: merged[key] for key in shared & set(merged)})
    for key, value in stands_for.items():
        decided = f"{value!r}, which the baseline {chosen.baseline!r} of REINFORCE stands for"
        require(getattr(settings, key) == value, settings, key, decided)
    refuse_unused(chosen, settings, by_choices(chosen, settings))
    return RunConfig(
        env, chosen, settings, env_kwargs=dict(env_kwargs or {}), wrappers=tuple(wrappers)
    )


def _unknown(key: str, own: set[str], allowed: list[str], kind: str) -> str:
    """Why a keyword is not one: misspelt, or a field of the algorithm's own config."""
    if key in own:
        return f"`{key}` belongs to the algorithm: write `klamp.{kind}({key}=…)`."
    near = closest(key, allowed)
    return (
        f"There is no setting `{key}`.{near} `help(klamp.Settings)` lists what all algorithms "
        f"share, `help(klamp.{kind})` what belongs to this one."
    )
