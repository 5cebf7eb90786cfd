"""A whole run as one configuration, and back from JSON."""

import json

import pytest

from klamp.config.algorithms import ALGORITHMS, PPO, TRPO
from klamp.config.run import RunConfig
from klamp.config.settings import Settings
from klamp.errors import ConfigError


@pytest.mark.parametrize("name", list(ALGORITHMS))
def test_a_configuration_survives_json(name: str) -> None:
    config = RunConfig("CartPole-v1", ALGORITHMS[name](), Settings(seed=2**63 - 1, hidden_sizes=()))
    assert RunConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


@pytest.mark.parametrize(
    "change", [{"algo": "none"}, {"env": 3}, {"clipp": 0.2}, {"clip": -1}], ids=str
)
def test_a_broken_configuration_is_refused(change: dict[str, object]) -> None:
    data = RunConfig("CartPole-v1", PPO(), Settings()).to_dict()
    with pytest.raises(ConfigError):
        RunConfig.from_dict(data | change)


def test_settings_and_algorithms_share_no_name() -> None:
    shared = set(Settings.__dataclass_fields__)
    for kind in ALGORITHMS.values():
        assert not shared & set(kind.__dataclass_fields__)


@pytest.mark.parametrize(
    ("settings", "algorithm", "said"),
    [
        ({"num_envs": 6, "shards": 4}, TRPO(), "`shards` of .* a divisor of num_envs"),
        ({"shards": 4}, PPO(minibatch_size=66), "`minibatch_size` .* a multiple of 4"),
        (
            {"shards": 4, "recurrent_size": 4, "sequence_length": 32},
            PPO(minibatch_size=64),
            "`minibatch_size` .* a multiple of 128, for equal shares of the 4 shards",
        ),
        ({"shards": 8, "critic_minibatch_size": 60}, TRPO(), "`critic_minibatch_size`"),
    ],
)
def test_shards_have_equal_shares_of_environments_and_minibatches(settings, algorithm, said):
    with pytest.raises(ConfigError, match=said):
        RunConfig("CartPole-v1", algorithm, Settings(**settings))
