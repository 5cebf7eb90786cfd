"""Two processes over the loopback are one: the same θ, the same episodes, the same folder.

What takes longer (all algorithms and networks, kills, other numbers of processes) is what
benchmarks/distributed.py measures.
"""

import json
import subprocess
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
from launching import launch_two

from klamp.cli.main import main

UPDATES = 5
STEPS = 4 * 16
RUN = [
    *("CartPole-v1", "--algo", "ppo", "--num-envs", "4", "--rollout-length", "16"),
    *("--epochs", "1", "--minibatch-size", "32", "--learning-rate", "0.01"),
    *("--hidden-sizes", "8", "--shards", "2", "--vectorization", "sync", "--quiet"),
    *("--normalize-observation", "--normalize-reward"),
    *("--checkpoint-interval", str(STEPS), "--keep-checkpoint-every", "1"),
]
WHOLE = ["--steps", str(UPDATES * STEPS)]
LIMITS = ["--join-timeout-s", "120", "--lost-after-s", "60"]


def launch(*words: str) -> subprocess.CompletedProcess[str]:
    """Two processes with the limits of these tests."""
    return launch_two(*words, *LIMITS, timeout=300)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The run of one process, and of two."""
    top = tmp_path_factory.mktemp("runs")
    assert main(["train", *RUN, *WHOLE, "--out", str(top / "one")]) == 0
    done = launch("train", *RUN, *WHOLE, "--out", str(top / "two"))
    assert done.returncode == 0, done.stderr
    return {name: top / name for name in ("one", "two")}


def states(folder: Path) -> list[dict[str, np.ndarray]]:
    """What each checkpoint holds."""
    paths = sorted((folder / "checkpoints").glob("step_*/*.safetensors"))
    assert len(paths) == UPDATES + 1
    return [safetensors.numpy.load_file(path) for path in paths]


def lines(folder: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_after_each_update_two_processes_have_the_state_of_one(folders) -> None:
    for one, two in zip(states(folders["one"]), states(folders["two"]), strict=True):
        assert set(one) == set(two)
        for name, array in one.items():
            if "theta" in name or "algorithm" in name:
                scale = max(float(np.abs(array).max(initial=0)), 1e-8)
                np.testing.assert_allclose(two[name], array, rtol=0, atol=1e-5 * scale)
            else:
                np.testing.assert_allclose(two[name], array, rtol=1e-5, atol=1e-6, err_msg=name)


def test_outcomes_counters_and_episodes_are_equal(folders) -> None:
    exact = ("step", "update", "episodes", "return_mean", "length_mean", "outcome")
    for one, two in zip(lines(folders["one"]), lines(folders["two"]), strict=True):
        for name in exact:
            assert one[name] == two[name], name
        assert one["kl"] == pytest.approx(two["kl"], rel=1e-2, abs=1e-6)


@pytest.mark.launches
def test_two_that_were_resumed_are_two_that_never_stopped_to_the_bit(folders, tmp_path) -> None:
    """So the same number of processes makes the same run twice, too."""
    out = str(tmp_path / "resumed")
    for words in (
        ("train", *RUN, "--steps", str(2 * STEPS), "--out", out),
        ("resume", out, "--quiet", *WHOLE),
    ):
        done = launch(*words)
        assert done.returncode == 0, done.stderr
    for whole, again in zip(states(folders["two"]), states(Path(out)), strict=True):
        assert set(whole) == set(again)
        for name, array in whole.items():
            np.testing.assert_array_equal(again[name], array, err_msg=name)


@pytest.mark.launches
def test_a_second_launch_on_the_folder_is_refused_in_every_process(folders) -> None:
    done = launch("train", *RUN, "--steps", str(STEPS), "--out", str(folders["two"]))
    assert done.returncode == 2
    said = done.stderr.splitlines()
    assert any(line.startswith("[0] klamp: The run folder") for line in said)
    assert any(line.startswith("[1] klamp: Process 0 (") for line in said)
    assert len(states(folders["two"])) == UPDATES + 1
