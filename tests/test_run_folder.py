"""The run's folder: chosen before anything is made, never one that holds something."""

import json
from pathlib import Path

import pytest

from klamp.config import PPO, TRPO, RunConfig, Settings
from klamp.errors import CheckpointError, ConfigError, RunFolderError
from klamp.run_folder import choose_folder, create_folder, drop_metrics_after, read_config

CONFIG = RunConfig("CartPole-v1", TRPO(), Settings(seed=5))


def test_the_default_name_tells_environment_algorithm_and_seed() -> None:
    assert choose_folder(CONFIG, None) == Path("runs/CartPole-v1-trpo-5")
    module = RunConfig("my_module:Thing-v0", PPO(), Settings())
    assert choose_folder(module, None) == Path("runs/my_module-Thing-v0-ppo-0")


def test_an_empty_folder_will_do_and_a_full_one_will_not(tmp_path: Path) -> None:
    assert choose_folder(CONFIG, tmp_path) == tmp_path
    (tmp_path / "something").write_text("mine")
    with pytest.raises(RunFolderError, match="exists already"):
        choose_folder(CONFIG, tmp_path)
    with pytest.raises(RunFolderError, match="exists already"):
        choose_folder(CONFIG, tmp_path / "something")
    assert (tmp_path / "something").read_text() == "mine"


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunFolderError, match="cannot be written"):
        create_folder(tmp_path / "file" / "run", CONFIG)


def test_the_configuration_comes_back(tmp_path: Path) -> None:
    create_folder(tmp_path / "run", CONFIG)
    assert read_config(tmp_path / "run") == CONFIG


@pytest.mark.parametrize(
    ("content", "wanted"),
    [
        ("{", "cannot be read as JSON"),
        ("[1]", "expected a JSON object"),
        ('{"env": "CartPole-v1", "algo": "nothing"}', "expected a string and one of"),
        ('{"env": "CartPole-v1", "algo": "ppo", "clipp": 1}', "unknown settings: clipp"),
        ('{"env": "CartPole-v1", "algo": "ppo", "clip": -1}', "`clip` of PPO is -1"),
    ],
)
def test_a_broken_configuration_is_named(content: str, wanted: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(ConfigError) as caught:
        read_config(tmp_path)
    assert wanted in str(caught.value)


def test_no_configuration_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no run's folder"):
        read_config(tmp_path)


def test_lines_that_the_checkpoint_does_not_know_are_dropped(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text("".join(json.dumps({"update": i}) + "\n" for i in (1, 2, 3)))
    drop_metrics_after(path, 2)
    assert path.read_text().count("\n") == 2
