"""A run begins with another's parameters and normaliser, and with nothing else of it."""

import json
import shutil
from pathlib import Path

import jax
import numpy as np
import pytest
from environments import probe

import klamp
from klamp.runs.metrics_log import read_metrics

COMMON = {
    "num_envs": 2,
    "rollout_length": 16,
    "hidden_sizes": (4,),
    "normalize_observation": True,
    "quiet": True,
}


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> klamp.Result:
    out = tmp_path_factory.mktemp("runs") / "source"
    return klamp.train(probe("box", "discrete"), "ppo", steps=64, out=out, epochs=1, **COMMON)


def begin(source: klamp.Result, out: Path, steps: int = 64, **settings: object) -> klamp.Result:
    given = COMMON | {"epochs": 1} | settings
    env = given.pop("env", probe("box", "discrete"))
    return klamp.train(env, "ppo", steps=steps, out=out, start_from=source.folder, seed=5, **given)


def test_parameters_and_normaliser_are_taken_and_the_rest_begins(
    source: klamp.Result, tmp_path: Path
) -> None:
    run = begin(source, tmp_path / "run", env=probe("box", "discrete", "info"))
    first = klamp.load(run.folder / "checkpoints" / "step_000000000000")
    np.testing.assert_array_equal(first.theta, source.policy.theta)
    jax.tree.map(np.testing.assert_array_equal, first.scaling, source.policy.scaling)
    assert run.metrics[0]["step"] == 32
    # Only its info tells that this environment has masks.
    assert run.policy.masked
    assert first.masked
    assert not source.policy.masked
    assert not np.array_equal(run.policy.theta, source.policy.theta)
    config = json.loads((run.folder / "config.json").read_text())
    assert Path(config["start_from"]) == (source.folder / "checkpoints/step_000000000064").resolve()
    manifest = json.loads((Path(config["start_from"]) / "MANIFEST.json").read_text())
    assert config["start_from_sha256"] == manifest["files"]["tensors.safetensors"]["sha256"]


def test_it_repeats_and_resumes_without_the_other_run(source: klamp.Result, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(source.folder, copy)
    moved = klamp.Result(source.policy, source.summary, source.metrics, copy)
    whole, part = begin(moved, tmp_path / "whole", 96), begin(moved, tmp_path / "part", 64)
    shutil.rmtree(copy)
    rest = klamp.resume(part.folder, steps=96, quiet=True)
    np.testing.assert_array_equal(rest.policy.theta, whole.policy.theta)
    a, b = (read_metrics(run.folder / "metrics.jsonl") for run in (whole, rest))
    assert [line["kl"] for line in a] == [line["kl"] for line in b]


def test_other_networks_spaces_and_checkpoints_are_refused(
    source: klamp.Result, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    with pytest.raises(klamp.ConfigError, match=r"has hidden_sizes=\(4,\), this one .*\(8,\)"):
        begin(source, out, hidden_sizes=(8,))
    with pytest.raises(klamp.ConfigError, match="normalize_observation=True"):
        begin(source, out, normalize_observation=False)
    with pytest.raises(klamp.ConfigError, match="Start from a run with the same spaces"):
        begin(source, out, env=probe("box", "multibinary"))
    with pytest.raises(klamp.CheckpointError, match="no run's folder"):
        klamp.train(probe(), out=out, start_from=tmp_path / "nothing", **COMMON)
    assert not out.exists()


def test_a_source_that_has_changed_is_not_taken(source: klamp.Result, tmp_path: Path) -> None:
    """A run that was stopped before its first checkpoint begins again, if it is from the same."""
    run = begin(source, tmp_path / "run")
    shutil.rmtree(run.folder / "checkpoints")
    (run.folder / "metrics.jsonl").unlink()
    path = run.folder / "config.json"
    text = path.read_text()
    path.write_text(text.replace('"start_from_sha256": "', '"start_from_sha256": "0'))
    with (
        pytest.warns(klamp.KlampWarning, match="nothing had been trained"),
        pytest.raises(klamp.ConfigError, match="whose arrays have changed since"),
    ):
        klamp.resume(run.folder, quiet=True)
    path.write_text(text)
    with pytest.warns(klamp.KlampWarning, match="nothing had been trained"):
        again = klamp.resume(run.folder, quiet=True)
    np.testing.assert_array_equal(again.policy.theta, run.policy.theta)
