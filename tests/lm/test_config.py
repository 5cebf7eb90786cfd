"""The settings of language-model runs: presets, checks, and the way to a file and back."""

import json

import pytest

from klamp import PPO, TRPO
from klamp.errors import ConfigError
from klamp.lm.config import PRESETS, Configuration, Settings, configure


@pytest.mark.parametrize("name", PRESETS)
def test_each_preset_can_be_bounded_and_read_back(name: str) -> None:
    bounded = name not in ("ppo-kl", "a2c", "reinforce")
    config = configure("sort", name, {"max_kl": 0.02} if bounded else {})
    assert not bounded or config.algorithm.max_kl == 0.02
    data = json.loads(json.dumps(config.to_dict()))
    assert Configuration.from_dict(data | {"klamp_version": "1"}) == config


def test_the_names_that_people_search_for() -> None:
    config = configure("sort", "gspo", {})
    assert (config.algorithm.ratio, config.settings.advantage) == ("sequence", "group")
    assert configure("sort", "cispo", {}).algorithm.objective == "cispo"
    dapo = configure("sort", "dapo", {"prompts": 4})
    assert (dapo.algorithm.clip_upper, dapo.settings.redraw_groups) == (0.28, 3)
    assert (dapo.settings.prompts, dapo.settings.completions) == (4, 32)
    assert configure("sort", "dr-grpo", {}).settings.aggregation == "constant"
    own = configure("sort", PPO(epochs=1), {"seed": 3}, {"steps": 7})
    assert (own.settings.steps, own.settings.seed, own.algorithm) == (7, 3, PPO(epochs=1))


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Settings(advantage="group"), "`generations` of Settings is 1"),
        (lambda: Settings(redraw_groups=2), "`redraw_groups` of Settings is 2"),
        (lambda: Settings(reference_target=0.1), "`reference_coefficient` of Settings is 0.0"),
        (lambda: Settings(temperature=0), "`temperature` of Settings is 0"),
        (lambda: Settings(aggregation="mean"), "must be one of 'token', 'sequence', 'constant'"),
        (lambda: configure("sort", "gpro", {}), "Did you mean `grpo`?"),
        (lambda: configure("sort", "ppo", {"promts": 3}), "Did you mean `prompts`?"),
        (
            lambda: configure("sort", TRPO(), {"reference_kl": "loss"}),
            "must be 'reward' with TRPO and NPG",
        ),
        (lambda: Configuration.from_dict({"env": "CartPole-v1"}), "begins with `lm:`"),
    ],
)
def test_what_cannot_work_is_said(make, said: str) -> None:
    with pytest.raises(ConfigError) as raised:
        make()
    assert said in str(raised.value)
