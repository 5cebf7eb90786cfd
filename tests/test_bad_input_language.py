"""Bad input of language-model runs, L1 to L12: what `klamp lm` and `klamp.lm` say of it.

What can be typed is typed: the command exits with 2, says one paragraph, and makes no folder.
"""

import json
import os
import shutil
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
from lm.small_models import tiny_decoder
from stored import Messages

import klamp
import klamp.lm
from klamp.cli.main import main
from klamp.lm.environments.rewards import Rewards
from klamp.lm.networks.pretrained import Pretrained
from klamp.lm.tokens.tokenizer import SymbolTokenizer
from klamp.lm.training import memory

MESSAGES = Messages("language")

OWN = "lm train model --data rows.jsonl --reward rewards.py:length"
TYPED = {
    "L1 misspelt command": "lm trian sort",
    "L1 misspelt task": "lm train srot",
    "L1 no task": "lm train",
    "L1 misspelt option": "lm train sort --generation 8",
    "L2 misspelt preset": "lm train sort --algo rlooo",
    "L3 prompts=0": "lm train sort --prompts 0",
    "L3 prompts=few": "lm train sort --prompts few",
    "L3 temperature=0": "lm train sort --temperature 0",
    "L3 temperature=nan": "lm train sort --temperature nan",
    "L3 adapter_rank=-1": "lm train sort --adapter-rank -1",
    "L3 max_kl=0": "lm train sort --max-kl 0",
    "L3 top_k": "lm train sort --top-k 5",
    "L4 group of one": "lm train sort --algo grpo --generations 1",
    "L4 groups drawn again without groups": "lm train sort --redraw-groups 2",
    "L5 length of a task": "lm train sort --max-new-tokens 4",
    "L5 data of a task": "lm train sort --data rows.jsonl",
    "L5 critic that is not there": "lm train sort --algo grpo --critic-warmup 3",
    "L5 reference that is not there": "lm train sort --reference-kl loss",
    "L5 reference that cannot adapt": "lm train sort --reference-target 0.1",
    "L5 reference in the loss of TRPO": "lm train sort --algo trpo --reference-coefficient 0.1 "
    "--reference-kl loss",
    "L6 too large for the machine": "lm train sort --prompts 1000000000",
    "L7 no rewards": "lm train model --data rows.jsonl",
    "L7 folder without a model": "lm train empty --data rows.jsonl --reward rewards.py:length",
    "L7 module of rewards": "lm train model --data rows.jsonl --reward rewrads.py:length",
    "L7 function of rewards": "lm train model --data rows.jsonl --reward rewards.py:lenght",
    "L7 weights of rewards": f"{OWN} --reward-weights 1 2",
    "L8 no data": "lm train model --reward rewards.py:length",
    "L8 data missing": "lm train model --data rosw.jsonl --reward rewards.py:length",
    "L8 line that is no JSON": "lm train model --data damaged.jsonl --reward rewards.py:length",
    "L8 line without a prompt": "lm train model --data promptless.jsonl --reward rewards.py:length",
    "L8 column missing": "lm train model --data rows.jsonl --reward rewards.py:correct",
    "L8 prompt too long": f"{OWN} --max-prompt-tokens 1",
    "L8 prompt without tokens": "lm train model --data strange.jsonl --reward rewards.py:length",
    "L9 weights damaged": "lm train cut --data rows.jsonl --reward rewards.py:length",
    "L9 tensor missing": "lm train headless --data rows.jsonl --reward rewards.py:length",
    "L9 kind of model": "lm train foreign --data rows.jsonl --reward rewards.py:length",
    "L10 folder that is no run": "lm generate nowhere",
}

REWARDS = """
def length(completions):
    return [float(len(said)) for said in completions]

def correct(completions, answer):
    return [float(said == right) for said, right in zip(completions, answer)]
"""


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Models, whole and damaged, and data."""
    top = tmp_path_factory.mktemp("shelf")
    model = Pretrained(tiny_decoder(), SymbolTokenizer(tuple("abcdef")))
    for name in ("model", "cut", "headless", "foreign"):
        model.save(top / name)
    weights = "model.safetensors"
    (top / "cut" / weights).write_bytes((top / "model" / weights).read_bytes()[:-100])
    tensors = safetensors.numpy.load_file(top / "model" / weights)
    del tensors["lm_head.weight"]
    safetensors.numpy.save_file(tensors, top / "headless" / weights)
    form = json.loads((top / "foreign" / "config.json").read_text())
    (top / "foreign" / "config.json").write_text(json.dumps(form | {"model_type": "mamba"}))
    (top / "empty").mkdir()
    (top / "rewards.py").write_text(REWARDS)
    (top / "rows.jsonl").write_text('{"prompt": "ab"}\n{"prompt": "cc"}\n')
    (top / "damaged.jsonl").write_text('{"prompt": "ab"}\n{"prompt": \n')
    (top / "promptless.jsonl").write_text('{"prompt": "ab"}\n{"question": "cc"}\n')
    (top / "strange.jsonl").write_text('{"prompt": "ab"}\n{"prompt": "a?"}\n')
    return top


@pytest.fixture(autouse=True)
def _there(shelf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(shelf)
    monkeypatch.syspath_prepend(str(shelf))
    monkeypatch.setattr(memory, "machine_memory", lambda: 16 * 10**9)


@pytest.mark.parametrize("row", TYPED)
def test_typed(row: str, shelf: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(TYPED[row].split()) == 2
    out, err = capsys.readouterr()
    assert not out
    assert err.startswith("klamp: ")
    said = err.removeprefix("klamp: ").removesuffix("\n")
    MESSAGES.check(row, said.replace(str(shelf), "SHELF"))
    assert not Path("runs").exists() or not any(Path("runs").glob("*/metrics.jsonl"))
    shutil.rmtree("runs", ignore_errors=True)


SMALL: dict[str, Any] = {
    "prompts": 2,
    "max_new_tokens": 2,
    "max_prompt_tokens": 4,
    "critic_warmup": 0,
    "steps": 2,
    "quiet": True,
}


def trained(**more: Any) -> klamp.lm.Result:
    return klamp.lm.train("model", "reinforce", data="rows.jsonl", **SMALL | more)


def raises(completions: list[str]) -> list[float]:
    raise ValueError("no such word")


def not_a_number(completions: list[str]) -> list[float]:
    return [0.5, float("nan")]


def too_few(completions: list[str]) -> list[float]:
    return [0.5]


def hangs(completions: list[str]) -> list[float]:
    threading.Event().wait(60)
    return [0.0, 0.0]


class Dies:
    """Answers nothing: it raises."""

    def reset(self, row: int, seed: int) -> str:
        return "ab"

    def step(self, text: str) -> klamp.lm.Turn:
        raise ConnectionError("the server is gone")


class Wrong(Dies):
    """Answers with what is no turn."""

    def step(self, text: str) -> klamp.lm.Turn:
        return "well done"  # type: ignore[return-value]


class NoNumber(Dies):
    """Rewards with NaN."""

    def step(self, text: str) -> klamp.lm.Turn:
        return klamp.lm.Turn(None, float("nan"), terminated=True)


class DiesAtOnce(Dies):
    """Has no prompt."""

    def reset(self, row: int, seed: int) -> str:
        raise OSError("no words on the disk")


CALLED: dict[str, dict[str, Any]] = {
    "L11 reward raises": {"reward": raises},
    "L11 reward is NaN": {"reward": not_a_number},
    "L11 rewards are too few": {"reward": too_few},
    "L11 reward hangs": {"reward": hangs},
    "L12 environment raises": {"environment": Dies},
    "L12 environment raises at reset": {"environment": DiesAtOnce},
    "L12 answer is no turn": {"environment": Wrong},
    "L12 reward of an environment is NaN": {"environment": NoNumber},
}


@pytest.mark.parametrize("row", CALLED)
def test_called(row: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The last default of its fields is the time limit.
    monkeypatch.setattr(Rewards.__init__, "__defaults__", (None, 0.2))
    with pytest.raises(klamp.EnvironmentFault) as caught:
        trained(out=tmp_path / "run", **CALLED[row])
    MESSAGES.check(row, str(caught.value))
    # Nothing was learnt from it, so nothing that is not finite can be kept.
    kept = [path.name for path in tmp_path.glob("run/checkpoints/*")]
    assert kept in ([], ["step_000000000000"])


class OnceWrong:
    """A reward that is NaN from its third update on."""

    calls = 0

    def __call__(self, completions: list[str]) -> list[float]:
        self.calls += 1
        return [1.0, float("nan") if self.calls > 2 else 0.0]


DAMAGED = {
    "L10 checkpoint cut": lambda path: path.write_bytes(path.read_bytes()[:-64]),
    "L10 checkpoint of another model": lambda path: safetensors.numpy.save_file(
        {"theta": np.zeros(3, np.float32)}, path
    ),
}


@pytest.fixture(scope="module")
def stopped(shelf: Path) -> Path:
    """A run that a wrong reward ended after two updates."""
    os.chdir(shelf)
    folder = shelf / "stopped"
    given = {"checkpoint_interval": 1, "steps": 100, "out": folder}
    with pytest.raises(klamp.EnvironmentFault):
        trained(reward=OnceWrong(), **given)
    return folder


def test_what_was_learnt_before_a_wrong_reward_is_kept_and_finite(stopped: Path) -> None:
    checkpoints = sorted((stopped / "checkpoints").iterdir())
    assert checkpoints
    for folder in checkpoints:
        (file,) = folder.glob("*.safetensors")
        for name, tensor in safetensors.numpy.load_file(file).items():
            assert np.isfinite(tensor).all(), name


@pytest.mark.parametrize("row", DAMAGED)
def test_a_damaged_checkpoint_is_named(row: str, stopped: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(stopped, tmp_path / "run")
    for file in folder.glob("checkpoints/*/*.safetensors"):
        DAMAGED[row](file)
    with pytest.raises(klamp.CheckpointError) as caught:
        klamp.lm.load(folder, sources=klamp.lm.Sources("rows.jsonl", (too_few,)))
    MESSAGES.check(row, str(caught.value).replace(str(tmp_path), "TOP"))


def test_every_stored_message_has_its_row() -> None:
    MESSAGES.check_rows([*TYPED, *CALLED, *DAMAGED])
