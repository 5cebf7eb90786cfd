"""`klamp train`: every setting once, under the heading of its group."""

import json
import re
from pathlib import Path

import gymnasium
import numpy as np
import pytest
from gymnasium.envs.registration import EnvSpec

from klamp.cli.main import main
from klamp.cli.training import ended_together
from klamp.config.algorithms import ALGORITHMS
from klamp.config.settings import GROUPS
from klamp.runs.checkpoint import latest_checkpoint, verify


@pytest.mark.parametrize("algo", list(ALGORITHMS))
def test_each_option_stands_under_the_heading_of_its_group(
    algo: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(["train", "CartPole-v1", "--algo", algo, "--help"])
    # With or without colours and boxes, as the terminal has it.
    text = re.sub(r"\x1b\[[0-9;]*m|[╭╮╰╯│─]", "", capsys.readouterr().out)
    parts = re.split(r"^ *(\S+) options *$", text, flags=re.MULTILINE)
    shown = dict(zip(parts[1::2], parts[2::2], strict=True))
    for heading, group in {**GROUPS, algo: ALGORITHMS[algo]}.items():
        options = re.findall(r"^ *(--[a-z][a-z-]*)", shown[heading], flags=re.MULTILINE)
        assert options == [f"--{name.replace('_', '-')}" for name in group.__dataclass_fields__]


class NanLater(gymnasium.Env):
    """Pays 1 per step, and NaN from its 70th step on: the start-up check makes fewer."""

    observation_space = gymnasium.spaces.Box(-1, 1, (1,), np.float32)
    action_space = gymnasium.spaces.Discrete(2)
    steps = 0

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.began = self.steps
        return np.zeros(1, np.float32), {}

    def step(self, action):
        self.steps += 1
        reward = 1.0 if self.steps < 70 else float("nan")
        return np.zeros(1, np.float32), reward, self.steps - self.began >= 5, False, {}


def test_a_run_of_which_most_was_refused_is_not_done(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(gymnasium.registry, "NanLater-v0", EnvSpec("NanLater-v0", NanLater))
    folder = tmp_path / "run"
    sizes = ["--num-envs", "2", "--rollout-length", "64", "--hidden-sizes", "4"]
    words = ["NanLater-v0", *sizes, "--steps", "512"]
    assert main(["train", *words, "--out", str(folder)]) == 2
    said = capsys.readouterr().err
    assert "Done" not in said
    assert said.count("was refused (NON_FINITE, the reward of environment") == 1
    assert "update 2 was refused" in said
    assert said.count("compiling …") == 1
    assert "\nMost updates were refused.\n" in said
    assert "\nrefused: 3 of 4 updates\nwhat happened: klamp explain" in said
    assert "klamp: 3 of the 4 updates" in said
    spent = verify(latest_checkpoint(folder)).spent
    # Gone on with, it is no more done than before, and took no less time.
    assert main(["resume", str(folder), "--quiet"]) == 2
    after = json.loads((folder / "summary.json").read_text())
    assert after["updates_refused"] == 3
    assert after["wall_s"] > spent.wall_s > after["compile_s"] > 0


def test_of_many_runs_each_that_was_mostly_refused_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for seed, refused in enumerate((0, 3, 2)):
        summary = {"update": 4, "updates_refused": refused, "folder": f"runs/seed-{seed}"}
        (tmp_path / f"seed-{seed}").mkdir()
        (tmp_path / f"seed-{seed}" / "summary.json").write_text(json.dumps(summary))
    folders = sorted(tmp_path.iterdir())
    assert ended_together(folders) == 2
    assert capsys.readouterr().err.count("runs/seed-1 were refused") == 1
    assert ended_together(folders[::2]) == 0
    assert capsys.readouterr().err == ""
