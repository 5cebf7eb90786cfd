"""What a user gives: objects or names, and what is recorded of them."""

import sys
from dataclasses import replace
from pathlib import Path

import pytest

from klamp.errors import ConfigError, EnvironmentFault
from klamp.lm.config.presets import configure
from klamp.lm.training.sources import Sources


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


@pytest.mark.parametrize("path", ["../elsewhere/own_rewards_b.py", "{}/elsewhere/own_rewards_b.py"])
def test_a_file_outside_of_the_working_folder_is_known_by_its_path(
    path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is executed once, and finds the modules beside it, which the name of no other hides."""
    for folder in ("here", "elsewhere"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "own_rewards_b.py").write_text(
            f"from own_length_b import length\nWHERE = {folder!r}\n"
            f"def rewarded(completions, **columns):\n    return [length(WHERE)]\n"
        )
    (tmp_path / "elsewhere" / "own_length_b.py").write_text("length = len\n")
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setattr(sys, "path", list(sys.path))
    given = Sources(reward=(f"{path.format(tmp_path)}:rewarded",))
    assert given.recorded()["reward"] == (f"{tmp_path}/elsewhere/own_rewards_b.py:rewarded",)
    first, second = given.rewards(), given.rewards()
    assert first is not None
    assert first.functions[0]([]) == [9]
    assert first.functions == second.functions
    inside = Sources(reward=(f"{tmp_path}/here/own_rewards_b.py:rewarded",))
    assert inside.recorded()["reward"] == ("own_rewards_b:rewarded",)
    with pytest.raises(EnvironmentFault, match=r"there is no file /nowhere/at_all\.py"):
        Sources(reward=("/nowhere/at_all.py:f",)).rewards()


def test_rows_are_needed() -> None:
    with pytest.raises(ConfigError, match="No data was given"):
        Sources().rows()
