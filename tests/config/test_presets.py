"""Presets: what is given wins, what is misspelt is named."""

from dataclasses import replace

import pytest

from klamp.config.algorithms import ALGORITHMS, PPO, TRPO
from klamp.config.presets import OTHERS, OWN, SHARED, configure, sources
from klamp.config.run import RunConfig
from klamp.config.settings import Settings
from klamp.errors import ConfigError


@pytest.mark.parametrize("algo", list(ALGORITHMS))
def test_every_preset_is_valid(algo: str) -> None:
    for env in [*SHARED, "Unknown-v0"]:
        assert isinstance(configure(env, algo, {}).algorithm, ALGORITHMS[algo]), env


def test_every_value_of_a_preset_is_a_setting() -> None:
    for (_, algo), values in OWN.items():
        config = configure("Unknown-v0", algo, values)
        flat = config.to_dict()
        assert {name: flat[name] for name in values} == {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in values.items()
        }


@pytest.mark.parametrize("algo", list(ALGORITHMS))
def test_versions_and_libraries_share_the_presets_of_a_task(algo: str) -> None:
    def of(env: str) -> tuple[object, object]:
        config = configure(env, algo, {})
        return config.settings, config.algorithm

    assert of("HalfCheetah-v4") == of("HalfCheetah-v5") == of("envpool:HalfCheetah-v4")
    assert of("CartPole-v0") == of("gymnax:CartPole-v1") == of("phys2d/CartPole-v1")
    assert of("CartPole-v1") != of("CartPole-v1x")


def test_what_is_given_wins_over_the_preset() -> None:
    config = configure("Pendulum-v1", "trpo", {"discount": 0.5, "max_kl": 0.3})
    assert config.settings.discount == 0.5
    assert config.algorithm == TRPO(**(vars(config.algorithm) | {"max_kl": 0.3}))


def test_a_preset_stands_in_nobodys_way() -> None:
    """What is given may leave a preset's value without effect, or exclude it."""
    scheduled = configure("HalfCheetah-v5", "ppo", {"action_scale": "scheduled"})
    assert scheduled.settings.action_scale == "scheduled"
    with pytest.raises(ConfigError, match="`initial_log_std` of Settings is -2"):
        configure("HalfCheetah-v5", "ppo", {"action_scale": "scheduled", "initial_log_std": -2.0})
    given = {"adaptive_learning_rate": 0.01}
    adaptive = configure("ALE/Pong-v5", "ppo", given)
    assert adaptive.algorithm == replace(
        PPO(), **{**OWN["ALE", "ppo"], "final_learning_rate": None, **given}
    )
    assert sources(adaptive, dict.fromkeys(given, "option"))["final_learning_rate"] == "default"


@pytest.mark.parametrize("algo", list(ALGORITHMS))
def test_a_config_takes_nothing_that_was_tuned_with_another(algo: str) -> None:
    """Only what holds for the environment under every algorithm."""
    chosen = ALGORITHMS[algo]()
    for env in [*SHARED, "Unknown-v0"]:
        for_all = Settings(**SHARED.get(env, OTHERS))
        assert configure(env, chosen, {}) == RunConfig(env, chosen, for_all)


def test_a_config_is_taken_as_it_is() -> None:
    assert configure("HalfCheetah-v5", TRPO(), {}).algorithm == TRPO()
    assert configure("CartPole-v1", None, {}).algorithm.__class__ is PPO


@pytest.mark.parametrize(
    ("algorithm", "given", "wanted"),
    [
        ("pppo", {}, "Did you mean `ppo"),
        (None, {"stepps": 1}, "Did you mean `steps`?"),
        (PPO(), {"clip": 0.1}, "klamp.PPO(clip=…)"),
        (TRPO(), {"nothing_like_it": 0.1}, "help(klamp.TRPO)"),
        ("trpo", {"gamma": 0.9}, "no setting `gamma`: it is called `discount` here"),
        ("ppo", {"lr": 0.9}, "no setting `lr`: it is called `learning_rate` here"),
        (
            PPO(),
            {"n_epochs": 3},
            "`n_epochs` is called `epochs` here; it belongs to the algorithm",
        ),
        ("trpo", {"ent_coef": 0}, "belongs to REINFORCE or A2C or PPO or PPOPenalty"),
    ],
)
def test_mistakes_are_named(algorithm: object, given: dict, wanted: str) -> None:
    with pytest.raises(ConfigError) as caught:
        configure("CartPole-v1", algorithm, given)
    assert wanted in str(caught.value)
