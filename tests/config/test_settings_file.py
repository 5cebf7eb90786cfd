"""Settings as TOML: each value in words that TOML has. Reading is tested in `cli/`."""

import tomllib

from klamp.config.presets import configure, sources
from klamp.config.settings_file import as_toml


def test_every_kind_of_value() -> None:
    config = configure(
        "CartPole-v1",
        "ppo",
        {"hidden_sizes": (32, 16)},
        env_kwargs={"size": {"wide": [1, 2.5]}, "name": 'a "b" δ'},
    )
    text = as_toml(config, sources(config, {"hidden_sizes": "option"}))
    read = tomllib.loads(text)
    assert read["env_kwargs"] == {"size": {"wide": [1, 2.5]}, "name": 'a "b" δ'}
    assert read["hidden_sizes"] == [32, 16]
    assert "# target_kl is unset" in text
    assert "# option" in text
