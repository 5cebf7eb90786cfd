"""A whole run as one configuration, and back from JSON."""

import json

import pytest

from klamp.config.algorithms import ALGORITHMS, PPO
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
