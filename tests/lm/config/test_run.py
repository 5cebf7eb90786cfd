"""The configuration of a language-model run: the way to a file and back."""

import json

import pytest

from klamp import TRPO
from klamp.errors import ConfigError
from klamp.lm.config.presets import PRESETS, configure
from klamp.lm.config.run import Configuration


@pytest.mark.parametrize("name", PRESETS)
def test_each_preset_can_be_bounded_and_read_back(name: str) -> None:
    bounded = name not in ("ppo-kl", "a2c", "reinforce")
    config = configure("sort", name, {"max_kl": 0.02} if bounded else {})
    assert not bounded or config.algorithm.max_kl == 0.02
    data = json.loads(json.dumps(config.to_dict()))
    assert Configuration.from_dict(data | {"klamp_version": "1"}) == config


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (
            lambda: Configuration.from_dict({"env": "lm:sort", "algo": "ppo", "colour": 1}),
            "There is no setting 'colour'",
        ),
        (
            lambda: configure("sort", TRPO(), {"reference_kl": "loss"}),
            "must be 'reward' with TRPO and NPG",
        ),
        (lambda: Configuration.from_dict({"env": "CartPole-v1"}), "begins with `lm:`"),
        (
            lambda: configure("sort", "ppo", {"shards": 4, "minibatch_size": 6}),
            "`minibatch_size` of PPO is 6, but must be a multiple of 4",
        ),
        (
            lambda: configure("sort", "trpo", {"shards": 4, "critic_minibatch_size": 6}),
            "`critic_minibatch_size` of Settings is 6, but must be a multiple of 4",
        ),
    ],
)
def test_what_cannot_work_is_said(make, said: str) -> None:
    with pytest.raises(ConfigError) as raised:
        make()
    assert said in str(raised.value)


def test_shards_bind_only_minibatches_that_there_are() -> None:
    """Nor one that is larger than the batch, which is taken whole."""
    groups = {"advantage": "group", "generations": 2, "critic_minibatch_size": 5, "prompts": 4}
    assert configure("sort", "ppo", {**groups, "shards": 4}).settings.shards == 4
