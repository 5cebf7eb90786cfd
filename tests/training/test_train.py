"""The loop as a whole: what a run leaves, that it repeats, and that it goes on."""

import json
from pathlib import Path

import numpy as np
import pytest

import klamp
import klamp.training.iteration
from klamp.runs.metrics_log import read_metrics

SMALL = {"num_envs": 4, "rollout_length": 64, "quiet": True}
NORMALISED = {"normalize_observation": True, "normalize_reward": True}
MAX_KL = 0.005
# The same settings everywhere, so that one compilation serves all tests of an algorithm.
ALGORITHMS = {"ppo": "ppo", "trpo": klamp.TRPO(max_kl=MAX_KL, damping=0.01)}
COMMON = [
    "step",
    "update",
    "time_s",
    "steps_per_second",
    "episodes",
    "return_mean",
    "length_mean",
    "surrogate_before",
    "surrogate_after",
    "kl",
    "kl_max",
    "entropy",
    "explained_variance",
    "value_loss",
    "clip_fraction",
    "ratio_max",
    "effective_sample_size",
    "outcome",
]
NATURAL = [
    "kl_predicted",
    "gain_predicted",
    "gain_actual",
    "step_scale",
    "backtracks",
    "cg_iterations",
    "cg_residual",
    "gradient_norm",
]
TIMES = ("time_s", "steps_per_second", "wall_s", "compile_s", "folder")


def without_times(lines: list[dict]) -> list[dict]:
    return [{key: line[key] for key in line if key not in TIMES} for line in lines]


@pytest.mark.parametrize(("algo", "keys"), [("ppo", COMMON), ("trpo", COMMON + NATURAL)])
def test_a_run_leaves_what_was_promised(algo: str, keys: list[str], tmp_path: Path) -> None:
    result = klamp.train("CartPole-v1", ALGORITHMS[algo], steps=600, out=tmp_path / "run", **SMALL)
    folder = result.folder
    lines = read_metrics(folder / "metrics.jsonl")
    assert [line["update"] for line in lines] == [1, 2, 3]
    assert set(keys) <= set(lines[-1])
    summary = json.loads((folder / "summary.json").read_text())
    assert {"wall_s", "compile_s"} <= set(summary)
    assert summary["step"] == lines[-1]["step"] >= 600
    config = json.loads((folder / "config.json").read_text())
    assert config["env"] == "CartPole-v1"
    assert config["algo"] == algo
    first, checkpoint = sorted((folder / "checkpoints").iterdir())
    assert first.name == "step_000000000000"
    assert checkpoint.name == f"step_{summary['step']:012d}"
    assert (checkpoint / "MANIFEST.json").exists()


@pytest.mark.parametrize(("env", "algo"), [("CartPole-v1", "trpo"), ("Pendulum-v1", "ppo")])
def test_the_same_seed_gives_the_same_run(env: str, algo: str, tmp_path: Path) -> None:
    settings = (NORMALISED if env == "Pendulum-v1" else {}) | SMALL
    runs = [
        klamp.train(env, ALGORITHMS[algo], steps=500, seed=seed, out=tmp_path / name, **settings)
        for name, seed in (("a", 7), ("b", 7), ("c", 8))
    ]
    a, b, c = (without_times(run.metrics) for run in runs)
    assert a == b
    assert a != c
    np.testing.assert_array_equal(runs[0].policy.theta, runs[1].policy.theta)


@pytest.mark.parametrize("env", ["CartPole-v1", "Pendulum-v1"])
def test_trust_region_holds_in_every_update(env: str, tmp_path: Path) -> None:
    result = klamp.train(env, ALGORITHMS["trpo"], steps=3_000, out=tmp_path / "run", **SMALL)
    accepted = [line for line in result.metrics if line["outcome"] == "ACCEPTED"]
    assert len(accepted) > len(result.metrics) / 2
    for line in result.metrics:
        assert line["kl"] <= MAX_KL
    for line in accepted:
        assert line["surrogate_after"] > line["surrogate_before"]
        assert line["kl"] > 0


def test_checkpoint_holds_the_whole_state_and_resume_goes_on(tmp_path: Path) -> None:
    settings = NORMALISED | SMALL
    first = klamp.train("Pendulum-v1", "ppo", steps=512, out=tmp_path / "run", **settings)
    policy = klamp.load(first.folder)
    observation = np.array([0.3, 0.9, -1.0], np.float32)
    np.testing.assert_array_equal(policy.theta, first.policy.theta)
    assert policy.value(observation) == first.policy.value(observation)
    np.testing.assert_array_equal(
        policy.act(observation, deterministic=True),
        first.policy.act(observation, deterministic=True),
    )

    more = klamp.resume(first.folder, steps=1024, quiet=True)
    assert [line["update"] for line in more.metrics] == [1, 2, 3, 4]
    assert more.summary["step"] == 1024
    nothing = klamp.resume(first.folder, quiet=True)
    np.testing.assert_array_equal(nothing.policy.theta, more.policy.theta)
    assert nothing.summary["step"] == 1024


def test_an_existing_folder_is_never_touched(trained: klamp.Result) -> None:
    before = {path: path.stat().st_mtime_ns for path in trained.folder.rglob("*")}
    with pytest.raises(klamp.RunFolderError, match="exists already"):
        klamp.train("CartPole-v1", out=trained.folder, quiet=True)
    assert before == {path: path.stat().st_mtime_ns for path in trained.folder.rglob("*")}


@pytest.mark.slow
def test_a_run_learns(tmp_path: Path) -> None:
    """End to end; test_family has each algorithm learn from batches, among the short tests."""
    for algo in ("ppo", "trpo"):
        final = [
            klamp.train(
                "CartPole-v1",
                algo,
                steps=10_000,
                seed=seed,
                out=tmp_path / f"{algo}{seed}",
                quiet=True,
            ).summary["return_mean"]
            for seed in (0, 1, 2)
        ]
        # An untrained policy gets 22; these two reach 63 to 74 by 10,000 steps.
        assert min(final) > 45, final
