"""Settings as a file: what is printed can be read again, and mistakes in it are said."""

import json
import tomllib
from pathlib import Path

import pytest

import klamp
from klamp.cli.config_file import ConfigFile, read_config_file, refuse_strange
from klamp.cli.main import main
from klamp.config.algorithms import ALGORITHMS, PPO, PPOPenalty
from klamp.config.presets import OWN, SHARED, configure, sources
from klamp.config.run import RunConfig
from klamp.config.settings import Settings
from klamp.config.settings_file import as_toml
from klamp.errors import ConfigError


def written(folder: Path, text: str, name: str = "run.toml") -> Path:
    (folder / name).write_text(text)
    return folder / name


@pytest.mark.parametrize("algo", list(ALGORITHMS))
def test_what_is_printed_is_the_configuration_again(algo: str, tmp_path: Path) -> None:
    for env in [*(f"{task}-v1" for task in SHARED), "Unknown-v0"]:
        config = configure(env, algo, {})
        path = written(tmp_path, as_toml(config, sources(config, {})))
        file = read_config_file(path, None)
        assert file.data["env"] == env
        assert configure(env, file.data["algo"], dict(file.settings)) == config


def test_toml_says_all_kinds_of_values() -> None:
    settings = Settings(hidden_sizes=(), critic_learning_rate=1e-5, schedule_steps=7)
    config = RunConfig('a"ö-v0', PPO(final_clip=0.0), settings)
    data = tomllib.loads(as_toml(config, sources(config, {})))
    assert data == {name: value for name, value in config.to_dict().items() if value is not None}


def test_each_setting_says_where_it_comes_from() -> None:
    config = configure("CartPole-v1", "reinforce", {"seed": 3, "discount": 0.9})
    found = sources(config, {"seed": "option", "discount": "run.toml"})
    assert found["seed"] == "option"
    assert found["discount"] == "run.toml"
    assert found["value_target"] == "baseline"
    assert found["activation"] == "default"
    assert all(found[name] == "preset" for name in OWN["CartPole", "reinforce"])
    assert set(found) == set(config.to_dict()) - {"env", "algo"}


@pytest.mark.parametrize(
    ("text", "name", "wanted"),
    [
        ("stepps = 1", "run.toml", "no setting `stepps`. Did you mean `steps`?"),
        ("gamma = 1", "run.toml", "it is called `discount` here"),
        ("max_grad_norm = 1", "run.toml", "it is called `max_gradient_norm` here"),
        ("damping = 1", "run.toml", "`damping` belongs to NPG or TRPO, but the algorithm is PPO"),
        ('algo = "pppo"', "run.toml", "Did you mean `ppo`?"),
        ("algo = 3", "run.toml", "`algo` in"),
        ("env = []", "run.toml", "`env` in"),
        ("steps = ", "run.toml", "Invalid value (at end of document)"),
        ('{"steps": NaN}', "run.json", "NaN is no JSON number"),
        ("steps: 3", "run.yaml", "ends in `.toml` or `.json`"),
        ("network = 3", "run.toml", "`network` in"),
    ],
)
def test_what_is_wrong_in_a_file_is_said(text: str, name: str, wanted: str, tmp_path: Path) -> None:
    path = written(tmp_path, text, name)
    with pytest.raises(ConfigError) as caught:
        read_config_file(path, None)
    assert wanted in str(caught.value)
    assert str(path) in str(caught.value)


def test_a_file_makes_no_one_run_a_strangers_module(tmp_path: Path) -> None:
    path = written(tmp_path, 'env = "strange_module:Thing-v0"')
    file = read_config_file(path, None)
    with pytest.raises(ConfigError, match=r"name the environment, .* yourself"):
        refuse_strange(file, "", (), None)
    refuse_strange(file, "strange_module:Thing-v0", (), None)
    refuse_strange(ConfigFile(), "", (), None)
    path = written(tmp_path, 'env = "CartPole-v1"\nwrappers = ["strange_module:wrap"]')
    wrapped = read_config_file(path, None)
    with pytest.raises(ConfigError, match="the wrapper `strange_module:wrap`"):
        refuse_strange(wrapped, "CartPole-v1", (), None)
    refuse_strange(wrapped, "", ("flatten",), None)


def test_the_algorithm_asked_for_goes_before_the_files(tmp_path: Path) -> None:
    path = written(tmp_path, 'algo = "ppo"\ntarget_kl = 0.02')
    assert read_config_file(path, "ppo-kl").settings == {"target_kl": 0.02}
    with pytest.raises(ConfigError, match="`target_kl` belongs to PPO or PPOPenalty"):
        read_config_file(path, "trpo")


def test_train_takes_another_runs_config_and_options_on_top(
    trained: klamp.Result, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["train", "--config", str(trained.folder), "--seed", "9", "--dry-run"]) == 0
    printed = capsys.readouterr().out
    assert not list(tmp_path.iterdir())
    there = json.loads((trained.folder / "config.json").read_text())
    said = tomllib.loads(printed)
    assert said == {
        name: value
        for name, value in there.items()
        if name != "klamp_version" and value is not None
    } | {"seed": 9}
    lines = {line.split(" =")[0]: line.split("# ")[-1] for line in printed.splitlines()}
    assert lines["seed"] == "option"
    assert lines["steps"] == "config.json"

    path = written(tmp_path, printed)
    assert main(["train", "--config", str(path), "--steps=512", "--quiet", "--out", "run"]) == 0
    made = json.loads((tmp_path / "run" / "config.json").read_text())
    assert made == there | {"seed": 9, "steps": 512}


def test_an_environment_on_the_command_line_goes_before_the_files(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = written(tmp_path, 'env = "CartPole-v1"\nalgo = "ppo-kl"\nsteps = 50000')
    assert main(["train", "--config", str(path), "Pendulum-v1", "--dry-run"]) == 0
    said = tomllib.loads(capsys.readouterr().out)
    assert (said["env"], said["algo"], said["steps"]) == ("Pendulum-v1", "ppo-kl", 50_000)
    assert said["discount"] == SHARED["Pendulum"]["discount"]
    assert said["target_kl"] == PPOPenalty().target_kl
