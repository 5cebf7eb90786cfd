"""A run of a language model: its folder, and going on with it as if it had never been killed."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import klamp
import klamp.lm
from klamp.errors import ConfigError, KlampWarning
from klamp.lm.config.presets import USUAL as TASKS
from klamp.lm.training import train as training
from klamp.lm.training.setup import configured
from klamp.runs.checkpoint import load_checkpoint
from klamp.runs.folder import write_config

SMALL: dict[str, Any] = {
    "prompts": 4,
    "generations": 2,
    "critic_warmup": 1,
    "critic_epochs": 1,
    "critic_minibatch_size": 8,
    # Eight episodes of at most six guesses: four updates.
    "steps": 150,
    "checkpoint_interval": 1,
    "reference_coefficient": 0.1,
    "reference_target": 0.05,
}
ALGORITHM = klamp.PPO(epochs=1, minibatch_size=4, learning_rate=1e-3, max_kl=1e-3)


class KilledAt:
    """Keeps the folder as it stands in the middle of an update: as a kill would leave it."""

    def __init__(self, update: int, folder: Path) -> None:
        self.update_killed, self.folder = update, folder

    def update(self, event: klamp.UpdateEvent) -> None:
        if event.metrics["update"] == self.update_killed:
            shutil.copytree(event.folder, self.folder)
            # Lines of updates that no checkpoint knows are there, too.
            with (self.folder / "completions.jsonl").open("a") as file:
                file.write('{"update": 3, "prompt": "lost"}\n{"upd')


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[klamp.lm.Result, Path]:
    """A whole run, and what a kill at its third update would have left."""
    top = tmp_path_factory.mktemp("runs")
    killed = KilledAt(3, top / "killed")
    result = klamp.lm.train(
        "guess", ALGORITHM, out=top / "whole", quiet=True, report=killed, **SMALL
    )
    return result, top / "killed"


def test_the_folder_tells_what_happened(runs: Any) -> None:
    result, _ = runs
    assert [line["update"] for line in result.metrics] == [1, 2, 3, 4]
    first, last = result.metrics[0], result.metrics[-1]
    # The first update warms up the critic: the policy stays.
    assert first["kl"] == first["kl_reference"] == 0
    assert 0 < last["kl"] <= 1e-3
    assert last["outcome"] in ("ACCEPTED", "PROJECTED")
    length = last["completion_length_mean"]
    assert last["kl_sequence"] == pytest.approx(length * last["kl"], rel=1e-4)
    assert last["ratio_error"] <= 1e-5
    assert 0 < last["kl_reference"] < 0.05
    assert result.metrics[2]["reference_coefficient"] == pytest.approx(0.09)
    assert last["step"] == sum(8 * line["completion_length_mean"] for line in result.metrics)
    assert last["reward_mean"] == -length
    assert last["episodes"] == 32
    summary = json.loads((result.folder / "summary.json").read_text())
    assert {"reward_mean", "completion_length_mean", "truncated_share"} <= {*last}
    assert summary["kl"] == last["kl"]
    text = (result.folder / "completions.jsonl").read_text()
    lines = [json.loads(line) for line in text.splitlines()]
    assert [line["update"] for line in lines] == [
        update for update in (1, 2, 3, 4) for _ in range(8)
    ]
    assert set(lines[0]) == {"update", "prompt", "completion", "reward", "length", "finished"}
    base = klamp.lm.load_pretrained(result.folder / "base")
    assert base.config.vocabulary == 20


def test_a_run_that_was_killed_ends_with_the_same_bytes(runs: Any) -> None:
    result, killed = runs
    again = klamp.lm.resume(killed, quiet=True)
    assert again.metrics[:2] == result.metrics[:2]
    clocks = {"time_s", "steps_per_second"}
    for one, other in zip(result.metrics, again.metrics, strict=True):
        assert {k: one[k] for k in one if k not in clocks} == {
            k: other[k] for k in other if k not in clocks
        }
    name = "completions.jsonl"
    assert (killed / name).read_bytes() == (result.folder / name).read_bytes()
    states = [
        load_checkpoint(sorted((folder / "checkpoints").iterdir())[-1])[0]
        for folder in (result.folder, killed)
    ]
    for key, tensor in states[0].items():
        np.testing.assert_array_equal(tensor, states[1][key], err_msg=key)


def test_resume_says_that_nothing_had_been_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_config(tmp_path, configured("guess", ALGORITHM, dict(SMALL), klamp.lm.Sources()))
    ended: Any = klamp.lm.Result(None, {"folder": "x"}, [], tmp_path, None)
    monkeypatch.setattr(training, "_run", lambda *_: ended)
    with pytest.warns(KlampWarning, match="stopped before its first step"):
        assert klamp.lm.resume(tmp_path, quiet=True) is ended


def test_the_policy_writes_and_is_loaded_again(runs: Any) -> None:
    result, _ = runs
    policy = klamp.lm.load(result.folder)
    prompts = policy.own_prompts(3)
    assert policy.generate(prompts) == result.policy.generate(prompts)
    assert len(policy.generate(prompts[:1], max_new_tokens=2)[0].split()) == 2
    drawn = policy.generate(prompts * 4, deterministic=False, seed=1)
    assert drawn == result.policy.generate(prompts * 4, deterministic=False, seed=1)
    assert drawn != policy.generate(prompts * 4, deterministic=False, seed=2)
    with pytest.raises(ConfigError, match="no token"):
        policy.generate(["abc"])


@pytest.mark.compiles
@pytest.mark.parametrize("task", TASKS)
def test_every_task_starts_as_it_stands(task: str, tmp_path: Path) -> None:
    """With its own settings but fewer steps: two updates for the critic and some of the policy."""
    steps = 20_000 if task == "guess-32" else 5_000  # Its batches are twice as large, and longer.
    result = klamp.lm.train(task, out=tmp_path / "run", quiet=True, steps=steps)
    last = result.metrics[-1]
    assert last["outcome"] in ("ACCEPTED", "PROJECTED")
    assert last["kl"] > 0
    first = result.metrics[0]["reward_mean"]
    # Guesses are counted, some seven at first: few updates of few episodes differ by chance.
    assert last["reward_mean"] > first - 0.1 * max(1, abs(first))
    assert result.policy.generate(result.policy.own_prompts(1))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            {"task": "srot"},
            "There is no task `srot`, and no folder of that name. Did you mean `sort`?",
        ),
        ({"task": "sort", "data": "x.jsonl"}, "has data and rewards of its own"),
        ({"task": "."}, "Nothing rewards the completions"),
    ],
)
def test_what_cannot_be_trained_is_refused(arguments: Any, said: str) -> None:
    with pytest.raises(ConfigError) as raised:
        klamp.lm.train(arguments.pop("task"), out="never", quiet=True, **arguments)
    assert said in str(raised.value)
    assert not Path("never").exists()
