"""The run's folder: chosen before anything is made, never one that holds something."""

import json
import os
import platform
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from hostile_files import foreign_files

import klamp
from klamp.config.algorithms import PPO, TRPO
from klamp.config.run import RunConfig
from klamp.config.settings import Settings
from klamp.errors import CheckpointError, ConfigError, RunFolderError
from klamp.runs.checkpoint import latest_checkpoint
from klamp.runs.folder import (
    begun,
    choose_folder,
    locked,
    nothing_trained,
    read_config,
    result_of,
    run_of,
    runs_of_seeds,
    write_config,
)

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
        locked(tmp_path / "file" / "run").__enter__()


def test_the_configuration_comes_back(tmp_path: Path) -> None:
    write_config(tmp_path, CONFIG)
    assert read_config(tmp_path) == CONFIG


@pytest.mark.parametrize(
    ("content", "wanted"),
    [
        ("{", "cannot be read as JSON"),
        ("[1]", "expected a JSON object"),
        ("{} {}", "line 1, column 4"),
        ('{"env": NaN}', "NaN is no JSON number"),
        ('{"env": "a", "env": "b"}', "the name 'env' stands twice"),
        ('{"env": ' + "[" * 40 + "]" * 40 + "}", "nested more than 32 deep"),
        ('{"env": ' + "[" * 90_000, "cannot be read as JSON"),
        ("\udcff", "is not UTF-8 at byte 0"),
        ("<html>", "is a web page"),
        (" " * 2**21, "2,097,152 bytes, at most 1,048,576 expected"),
        ('{"env": "CartPole-v1", "algo": "nothing"}', "expected one of reinforce"),
        ('{"env": "CartPole-v1", "algo": ["ppo"]}', "expected one of reinforce"),
        ('{"env": "CartPole-v1", "algo": "ppo", "network": 3}', "`network` of the configuration"),
        ('{"env": "CartPole-v1", "algo": "ppo", "hidden_sizes": 3}', "`hidden_sizes` of Settings"),
        (f'{{"env": "E-v1", "algo": "ppo", "clip": 1{"0" * 400}}}', "`clip` of PPO is 100"),
        ('{"env": "E-v1", "algo": "ppo", "clip": 1e999}', "'1e999' is too large for a number"),
        ('{"env": "CartPole-v1", "algo": "ppo", "clipp": 1}', "unknown settings: clipp"),
        ('{"env": "CartPole-v1", "algo": "ppo", "clip": -1}', "`clip` of PPO is -1"),
    ],
)
def test_a_broken_configuration_is_named(content: str, wanted: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_bytes(content.encode("utf-8", "surrogateescape"))
    with pytest.raises(ConfigError) as caught:
        read_config(tmp_path)
    assert wanted in str(caught.value)


def test_no_configuration_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no run's folder"):
        read_config(tmp_path)


def test_a_file_in_place_of_a_folder_is_told_by_what_it_is(tmp_path: Path) -> None:
    kinds = {
        "pickle": "a Python pickle",
        "PyTorch .pt": "a zip archive, such as a PyTorch `.pt`",
        "NumPy with objects": "a NumPy array",
        "HDF5": "an HDF5 file",
        "HTML": "a web page",
        "Git LFS": "a Git LFS pointer",
        "safetensors": "a bare safetensors file",
        "tar": "a tar archive",
    }
    files = foreign_files(tmp_path / "canary")
    for name, kind in kinds.items():
        path = tmp_path / "model"
        path.write_bytes(files[name])
        for read in (read_config, latest_checkpoint):
            with pytest.raises(CheckpointError) as caught:
                read(path)
            assert f"this is {kind}" in str(caught.value)
    assert not (tmp_path / "canary").exists()


@pytest.mark.parametrize("part", ["env", "algo", "network", "clip", "\x1b[1m"])
@pytest.mark.parametrize(
    "text",
    ["\x1b[2J", "a\nb", "\u202ea", "\ud800", "x" * 10**5],
    ids=["escape", "rows", "direction", "half", "long"],
)
def test_what_a_stranger_wrote_is_told_short_and_harmless(
    part: str, text: str, tmp_path: Path
) -> None:
    data = {"env": "CartPole-v1", "algo": "ppo"} | {part: text}
    (tmp_path / "config.json").write_text(json.dumps(data))
    with pytest.raises(ConfigError) as caught:
        read_config(tmp_path)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 1000


def test_a_run_holds_nothing_that_tells_who_or_where(trained: klamp.Result) -> None:
    """The summary alone says which folder it was written to."""
    private = [str(trained.folder.parent), str(Path.home()), platform.node(), sys.prefix]
    private += [value for name, value in os.environ.items() if name.startswith(("PYTEST", "PATH"))]
    private = [secret for secret in private if len(secret) > 4]
    files = [path for path in trained.folder.rglob("*") if path.is_file()]
    assert len(files) > 5
    for path in files:
        if path.name != "summary.json":
            text = path.read_bytes()
            assert not [secret for secret in private if secret.encode() in text], path


def test_a_name_that_no_file_can_have_is_no_run() -> None:
    for name in ("x" * 5000, "a\0b"):
        with pytest.raises(CheckpointError, match="no run's folder"):
            read_config(Path(name))


def test_the_second_to_lock_a_folder_is_told_who_holds_it(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    with locked(folder):
        message = rf"being trained in by process {os.getpid()} on "
        with pytest.raises(RunFolderError, match=message), locked(folder):
            pass
        assert choose_folder(CONFIG, folder) == folder
    assert sorted(path.name for path in folder.iterdir()) in ([], [".lock"])
    with locked(folder):
        pass


def test_a_lock_ends_with_the_process_that_held_it(tmp_path: Path) -> None:
    program = "import os, sys; from pathlib import Path; from klamp.runs.folder import locked\n"
    program += "held = locked(Path(sys.argv[1])); held.__enter__(); os.kill(os.getpid(), 9)"
    subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=False)
    assert (tmp_path / ".owner.json").exists()
    with locked(tmp_path):
        owner = json.loads((tmp_path / ".owner.json").read_text())
        assert owner["pid"] == os.getpid()


def test_a_checkpoint_tells_its_run(tmp_path: Path) -> None:
    assert run_of(tmp_path / "checkpoints" / "step_000000000012") == tmp_path
    assert run_of(tmp_path) == tmp_path


def test_nothing_is_trained_before_the_first_checkpoint(tmp_path: Path) -> None:
    assert nothing_trained(tmp_path)
    (tmp_path / "metrics.jsonl").write_text("")
    assert nothing_trained(tmp_path)
    (tmp_path / "metrics.jsonl").write_text("{}\n")
    assert not nothing_trained(tmp_path)


def test_a_folder_is_asked_for_a_run_of_that_very_configuration(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    assert not begun(CONFIG, folder)
    with locked(folder):
        write_config(folder, CONFIG)
    assert begun(CONFIG, folder)
    other = RunConfig("CartPole-v1", TRPO(max_kl=0.02), Settings(seed=5))
    with pytest.raises(RunFolderError, match=r"`max_kl` is 0\.01 there and 0\.02 here"):
        begun(other, folder)
    (tmp_path / "mine").write_text("")
    with pytest.raises(RunFolderError, match="holds no run"):
        begun(CONFIG, tmp_path)


def test_a_run_has_ended_where_its_last_checkpoint_is_whole_and_its_summary_is_of_it(
    trained: klamp.Result, tmp_path: Path
) -> None:
    config = read_config(trained.folder)
    assert result_of(config, trained.folder) == trained.summary
    more = RunConfig(config.env, config.algorithm, replace(config.settings, steps=10**6))
    assert result_of(more, trained.folder) is None
    for missing in ("summary.json", "checkpoints", "checkpoints/*/state.json"):
        copy = tmp_path / missing.replace("/", "-").replace("*", "all")
        shutil.copytree(trained.folder, copy)
        for path in copy.glob(missing):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        assert result_of(config, copy) is None


def test_runs_of_seeds_come_by_their_numbers(tmp_path: Path) -> None:
    for name in ("seed-10", "seed-2", "seed-x", "other"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text("{}")
    (tmp_path / "seed-3").mkdir()
    assert [path.name for path in runs_of_seeds(tmp_path)] == ["seed-2", "seed-10"]
    (tmp_path / "config.json").write_text("{}")
    assert runs_of_seeds(tmp_path) == []
