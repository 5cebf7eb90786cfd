"""Environments of a user's own, from their arguments and wrappers to a resumed run, end to end."""

import json
import subprocess
import sys
import tomllib
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from own_environments import Doubled, Line, made

import klamp
from klamp.cli.main import main
from klamp.runs.metrics_log import read_metrics

BATCH = 32
SMALL: dict[str, Any] = {
    "num_envs": 2, "rollout_length": 16, "hidden_sizes": (4,), "quiet": True, "seed": 1,
}  # fmt: skip
STACKED = ["time-limit=7", Doubled, "frame-stack=3"]
KINDS: dict[str, dict[str, Any]] = {
    "id": {
        "env": "CartPole-v1",
        "env_kwargs": {"sutton_barto_reward": True},
        "wrappers": ["time-limit=9", "frame-stack=3"],
    },
    "class": {"env": Line, "env_kwargs": {"length": 4}, "wrappers": STACKED},
    "function of a script's own": {"env": lambda: Line(6), "wrappers": [partial(Doubled)]},
}


def lines(folder: Path) -> list[dict[str, Any]]:
    """Metrics without what the clock says."""
    clock = ("time_s", "steps_per_second")
    found = read_metrics(folder / "metrics.jsonl")
    return [{name: value for name, value in line.items() if name not in clock} for line in found]


@pytest.mark.parametrize(
    "kind", [pytest.param(k, marks=() if k == "class" else pytest.mark.compiles) for k in KINDS]
)
def test_a_resumed_run_ends_with_the_same_bytes(kind: str, tmp_path: Path) -> None:
    given = dict(KINDS[kind])
    env = given.pop("env")
    again: dict[str, Any] = {}
    if "script" in kind:
        again = {"environment": env, "wrappers": given["wrappers"]}
    whole = klamp.train(env, **given, **SMALL, steps=4 * BATCH, out=tmp_path / "whole")
    klamp.train(env, **given, **SMALL, steps=2 * BATCH, out=tmp_path / "parts")
    if again:
        with pytest.raises(klamp.ConfigError, match="Give it again"):
            klamp.resume(tmp_path / "parts", steps=4 * BATCH, quiet=True)
    parts = klamp.resume(tmp_path / "parts", steps=4 * BATCH, quiet=True, **again)
    assert np.asarray(parts.policy.theta).tobytes() == np.asarray(whole.policy.theta).tobytes()
    assert lines(tmp_path / "parts") == lines(tmp_path / "whole")
    config = json.loads((tmp_path / "parts" / "config.json").read_text())
    assert len(config["wrappers"]) == len(given["wrappers"])
    assert config.get("env_kwargs", {}) == given.get("env_kwargs", {})
    assert ("signature" in config) == (kind == "class")
    loaded = klamp.load(tmp_path / "parts", **again)
    own = {"env": env, "wrappers": given["wrappers"]} if again else {}
    one, other = (klamp.evaluate(p, episodes=3, **own) for p in (loaded, whole.policy))
    np.testing.assert_array_equal(one.returns, other.returns)


def test_seeds_of_a_script_s_own_class_are_the_runs_of_each_seed_alone(tmp_path: Path) -> None:
    class Own(Line):
        pass

    own = {**SMALL, "steps": BATCH, "wrappers": [lambda env, kind=Doubled: kind(env)]}
    folders = klamp.train_seeds(
        Own, "ppo", seeds=2, out=tmp_path / "set", workers=1, **(own | {"seed": 0})
    )
    alone = klamp.train(Own, "ppo", **(own | {"seed": 1}), out=tmp_path / "alone")
    again = {"environment": Own, "wrappers": own["wrappers"]}
    theta = klamp.load(folders[1], **again).theta
    assert np.asarray(theta).tobytes() == np.asarray(alone.policy.theta).tobytes()


def test_a_policy_is_evaluated_on_what_is_given(tmp_path: Path) -> None:
    policy = klamp.train(Line, wrappers=[Doubled], **SMALL, steps=BATCH, out=tmp_path).policy
    usual = klamp.evaluate(policy, episodes=4).returns
    np.testing.assert_array_equal(klamp.evaluate(policy, Line, episodes=4).returns, usual)
    bare = klamp.evaluate(policy, wrappers=[], episodes=4).returns
    np.testing.assert_array_equal(2 * bare, usual)
    other = klamp.evaluate(policy, env_kwargs={"pull": 3.0}, episodes=4).returns
    np.testing.assert_array_equal(other, 3 * usual)
    by_call = klamp.evaluate(policy, partial(Line, pull=3.0), episodes=4).returns
    np.testing.assert_array_equal(by_call, other)


def test_an_environment_that_is_made_is_made_again(trained: klamp.Result) -> None:
    """The bug: a raw TypeError."""
    own = gymnasium.make("CartPole-v1")
    one, other = (klamp.evaluate(trained.policy, env, episodes=2) for env in ("CartPole-v1", own))
    np.testing.assert_array_equal(one.returns, other.returns)
    with pytest.raises(klamp.ConfigError, match=r"cannot be made again: it has no `spec`"):
        klamp.evaluate(trained.policy, Line())


def test_another_environment_is_not_gone_on_with(tmp_path: Path) -> None:
    klamp.train(Line, wrappers=[Doubled], **SMALL, steps=BATCH, out=tmp_path)
    with pytest.raises(klamp.ConfigError, match=r"made with the environment `factory:own_env"):
        klamp.load(tmp_path, environment=made)
    with pytest.raises(klamp.ConfigError, match=r"made with the wrappers \['own_environments:D"):
        klamp.resume(tmp_path, wrappers=["flatten"])


def test_the_command_line_says_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    words = "--num-envs 2 --rollout-length 16 --hidden-sizes 4 --steps 32 --seed 1 --quiet"
    given = (
        "--env-kwargs length=4 pull=2.5 label=a --wrappers time-limit=7 own_environments:Doubled"
    )
    call = ["train", "factory:own_environments:Line", *given.split(), *words.split()]
    assert main(call) == 0
    here = klamp.train(
        Line,
        **SMALL,
        steps=32,
        env_kwargs={"length": 4, "pull": 2.5, "label": "a"},
        wrappers=["time-limit=7", Doubled],
        out="here",
    )
    theta = klamp.load("runs/Line-ppo-1").theta
    assert np.asarray(theta).tobytes() == np.asarray(here.policy.theta).tobytes()
    ours, theirs = (Path(at, "config.json").read_text() for at in ("here", "runs/Line-ppo-1"))
    assert ours == theirs


@pytest.mark.compiles
def test_a_module_in_the_working_folder_is_found_by_the_installed_command(tmp_path: Path) -> None:
    """The bug: console scripts lack the working folder, which `python -m klamp` has."""
    project = tomllib.loads((Path(__file__).parent.parent / "pyproject.toml").read_text())
    module, function = project["project"]["scripts"]["klamp"].split(":")
    script = tmp_path / "bin" / "klamp"
    script.parent.mkdir()
    script.write_text(
        f"import sys\nfrom {module} import {function}\n"
        f"if __name__ == '__main__':\n    sys.exit({function}())\n"
    )
    (tmp_path / "myenvs.py").write_text(
        "import gymnasium\n"
        "from gymnasium.envs.classic_control import CartPoleEnv\n"
        "class MyGrid(CartPoleEnv):\n    pass\n"
        "gymnasium.register('MyGrid-v0', 'myenvs:MyGrid', max_episode_steps=20)\n"
    )
    words = "--num-envs 2 --rollout-length 16 --hidden-sizes 4 --steps 32 --quiet"
    for more in (["--vectorization", "async"], ["--seeds", "2", "--seed", "1"]):
        done = subprocess.run(
            [sys.executable, str(script), "train", "myenvs:MyGrid-v0", *words.split(), *more],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / "runs").iterdir())) == 3
