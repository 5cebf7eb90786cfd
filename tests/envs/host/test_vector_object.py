"""A user's own vector environment: an object as it is, a class or function with its own copies."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from own_environments import Forgetful, Line, Race, race

import klamp
from klamp.cli.main import main
from klamp.runs.metrics_log import read_metrics

SMALL: dict[str, Any] = {
    "rollout_length": 16, "hidden_sizes": (4,), "quiet": True, "seed": 1, "steps": 96,
    "checkpoint_interval": 48,
}  # fmt: skip
MODES = ["NEXT_STEP", "SAME_STEP", "DISABLED"]


def theta(policy: Any) -> bytes:
    return np.asarray(policy.theta).tobytes()


@pytest.mark.parametrize("mode", MODES)
def test_an_object_trains_resumes_and_is_left_open(mode: str, tmp_path: Path) -> None:
    given = Race(mode=mode)
    whole = klamp.train(given, "ppo", **SMALL, out=tmp_path / "whole")
    assert whole.policy.config.settings.num_envs == 3
    assert not given.closed
    part = klamp.train(given, "ppo", **SMALL | {"steps": 48}, out=tmp_path / "part")
    with pytest.raises(klamp.ConfigError, match=r"is an object, .*Give it again"):
        klamp.resume(part.folder, quiet=True)
    rest = klamp.resume(part.folder, steps=96, quiet=True, environment=Race(mode=mode))
    assert theta(rest.policy) == theta(whole.policy)
    # Rows that are only reset are no transitions: all that is counted was stepped.
    counted = [line["step"] for line in read_metrics(whole.folder / "metrics.jsonl")]
    assert counted[-1] >= 96
    assert (counted[0] < 48) == (mode == "NEXT_STEP")
    for other in (Line, given):
        returns = klamp.evaluate(rest.policy, other, episodes=5, deterministic=False).returns
        assert len(returns) == 5
    assert not given.closed


def test_a_class_and_a_function_make_their_own_copies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = klamp.train(Race(), "ppo", **SMALL, out=tmp_path / "object")
    for number, env in enumerate((Race, race)):
        more = {"num_envs": 3, "eval_interval": 48, "eval_episodes": 2, "env_kwargs": {"length": 5}}
        run = klamp.train(env, "ppo", **SMALL, **more, out=tmp_path / str(number))
        assert theta(run.policy) == theta(alone.policy)
        assert np.isfinite(run.summary["eval_return_mean"])
        assert len(klamp.evaluate(klamp.load(run.folder), episodes=5).returns) == 5
    monkeypatch.chdir(tmp_path)
    words = "--num-envs 3 --rollout-length 16 --hidden-sizes 4 --steps 96 --seed 1 --quiet"
    assert main(["train", "factory:own_environments:Race", *words.split()]) == 0
    assert theta(klamp.load("runs/Race-ppo-1")) == theta(alone.policy)


def test_what_cannot_be_put_back_is_said_at_the_start(tmp_path: Path) -> None:
    with pytest.warns(klamp.KlampWarning, match="the arrays and numbers among its attributes"):
        klamp.train(Forgetful(), "ppo", **SMALL | {"steps": 48}, out=tmp_path)
