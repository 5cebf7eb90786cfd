"""What a user gives: objects or names, and what is recorded of them."""

from dataclasses import replace
from pathlib import Path

import pytest

from klamp.errors import ConfigError
from klamp.lm.presets import configure
from klamp.lm.sources import Sources


def length(prompts: list, completions: list) -> list[float]:
    return [float(len(each)) for each in completions]


def test_names_are_recorded_and_found_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own_rewards_a.py").write_text(
        "def short(completions, **columns):\n    return [1.0]\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    given = Sources("rows.jsonl", ("own_rewards_a.py:short", length), (1.0, 0.5))
    recorded = given.recorded()
    assert recorded["data"] == str(tmp_path / "rows.jsonl")
    assert recorded["reward"] == ("own_rewards_a:short", f"{__name__}:length")
    assert given.given() == []
    assert Sources(reward=(length,)).given() == ["reward"]
    config = configure("m", "ppo", {}, None, recorded)
    again = replace(Sources(), reward=(length,)).over(config)
    assert again.data == recorded["data"]
    assert again.reward == (length,)
    assert again.reward_weights == (1.0, 0.5)
    rewards = given.rewards()
    assert rewards is not None
    assert rewards.names == ["short", "length"]
    assert Sources().rewards() is None
    assert Sources().environment() is None


def test_rows_are_needed() -> None:
    with pytest.raises(ConfigError, match="No data was given"):
        Sources().rows()
