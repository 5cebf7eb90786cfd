"""Two processes train a language model as one does: the same completions, θ and folder."""

import json
import subprocess
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
from launching import launch_two

from klamp.cli.main import main

pytestmark = [pytest.mark.launches, pytest.mark.timeout(1800)]

UPDATES, TOKENS = 5, 32 * 6
RUN = [
    *("sort", "--algo", "ppo", "--max-kl", "0.01", "--prompts", "32", "--shards", "2"),
    *("--minibatch-size", "8", "--critic-minibatch-size", "8", "--critic-warmup", "1"),
    *("--supervised-steps", "20", "--quiet"),
    *("--checkpoint-interval", str(TOKENS), "--keep-checkpoint-every", "1"),
]
LIMITS = ["--join-timeout-s", "300", "--lost-after-s", "120"]


def launch(*words: str) -> subprocess.CompletedProcess[str]:
    """Two processes with the limits of these tests."""
    return launch_two(*words, *LIMITS, timeout=900)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The run of one process, of two, and of two that were stopped and resumed."""
    top = tmp_path_factory.mktemp("runs")
    whole = ["--steps", str(UPDATES * TOKENS)]
    assert main(["lm", "train", *RUN, *whole, "--out", str(top / "one")]) == 0
    for name, updates in (("two", UPDATES), ("resumed", 2)):
        steps = ["--steps", str(updates * TOKENS), "--out", str(top / name)]
        done = launch("lm", "train", *RUN, *steps)
        assert done.returncode == 0, done.stderr
    done = launch("resume", str(top / "resumed"), "--quiet", *whole)
    assert done.returncode == 0, done.stderr
    return {name: top / name for name in ("one", "two", "resumed")}


def states(folder: Path) -> list[dict[str, np.ndarray]]:
    """What each checkpoint holds."""
    paths = sorted((folder / "checkpoints").glob("step_*/*.safetensors"))
    assert len(paths) == UPDATES + 1
    return [safetensors.numpy.load_file(path) for path in paths]


def lines(folder: Path, name: str = "metrics.jsonl") -> list[dict[str, object]]:
    return [json.loads(line) for line in (folder / name).read_text().splitlines()]


def test_after_each_update_two_processes_have_the_state_of_one(folders) -> None:
    for one, two in zip(states(folders["one"]), states(folders["two"]), strict=True):
        assert set(one) == set(two)
        for name, array in one.items():
            # Adam's moments are squares of gradients, whose rounding is that of a small difference.
            close = 1e-4 if "algorithm" in name else 1e-5
            scale = close * max(float(np.abs(array).max(initial=0)), 1e-8)
            np.testing.assert_allclose(two[name], array, rtol=0, atol=scale, err_msg=name)


def test_outcomes_counters_rewards_and_completions_are_equal(folders) -> None:
    exact = ("step", "update", "episodes", "return_mean", "reward_mean", "outcome")
    one, two = (lines(folders[name]) for name in ("one", "two"))
    assert len(one) == UPDATES
    for line, other in zip(one, two, strict=True):
        for name in exact:
            assert line[name] == other[name], name
        assert line["kl"] == pytest.approx(other["kl"], rel=1e-2, abs=1e-6)
    assert max(line["kl"] for line in one) > 1e-3
    said = [lines(folders[name], "completions.jsonl") for name in ("one", "two")]
    assert said[0] == said[1]
    ends = [json.loads((folders[name] / "summary.json").read_text()) for name in ("one", "two")]
    assert ends[0]["accuracy_greedy"] == ends[1]["accuracy_greedy"]


def test_two_that_were_resumed_are_two_that_never_stopped_to_the_bit(folders) -> None:
    """So the same number of processes makes the same run twice, too."""
    for whole, again in zip(states(folders["two"]), states(folders["resumed"]), strict=True):
        assert set(whole) == set(again)
        for name, array in whole.items():
            np.testing.assert_array_equal(again[name], array, err_msg=name)
    texts = [(folders[name] / "completions.jsonl").read_text() for name in ("two", "resumed")]
    assert texts[0] == texts[1]


def test_a_second_launch_on_the_folder_is_refused_in_every_process(folders) -> None:
    done = launch("lm", "train", *RUN, "--steps", "100", "--out", str(folders["two"]))
    assert done.returncode == 2
    said = done.stderr.splitlines()
    assert any(line.startswith("[0] klamp: The run folder") for line in said), said
    assert any(line.startswith("[1] klamp: Process 0 (") for line in said), said
