"""The last, the best, or the checkpoint of a step; never another in its place."""

from pathlib import Path

import numpy as np
import pytest

from klamp.errors import CheckpointError, ConfigError
from klamp.runs.checkpoint_choice import best_score, chosen_checkpoint
from klamp.runs.checkpoint_write import save_checkpoint

SCORES = {0: None, 10: 3.0, 20: 7.0, 30: 7.0, 40: -1.0}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    for step, score in SCORES.items():
        tree = {"theta": np.full(2, step)}
        save_checkpoint(tmp_path / "checkpoints", step, tree, {}, score=score, keep=True)
    return tmp_path


def test_each_is_found(run: Path) -> None:
    found = [chosen_checkpoint(run, choice).name[-2:] for choice in ("last", "best", 20, 0)]
    # Of two that are equally good, the later one.
    assert found == ["40", "30", "20", "00"]
    assert [best_score(run, step) for step in (0, 10, 25, 40)] == [None, 3.0, 7.0, 7.0]


def test_what_is_not_there_is_named_with_what_is(run: Path) -> None:
    with pytest.raises(CheckpointError, match=r"no checkpoint of step 15. .* 0, 10, 20, 30, 40"):
        chosen_checkpoint(run, 15)
    for choice in ("bset", -1, True, 1.5):
        with pytest.raises(ConfigError, match="must be 'best', 'last', or the step"):
            chosen_checkpoint(run, choice)  # pyright: ignore[reportArgumentType]


def test_no_score_no_best(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "checkpoints", 0, {"theta": np.zeros(2)}, {})
    with pytest.raises(CheckpointError, match="none is the best"):
        chosen_checkpoint(tmp_path, "best")


def test_a_damaged_one_is_not_replaced_by_another(run: Path) -> None:
    tensors = run / "checkpoints" / "step_000000000030" / "tensors.safetensors"
    tensors.write_bytes(tensors.read_bytes()[:-1])
    for choice in ("best", 30):
        with pytest.raises(CheckpointError, match="step_000000000030 is damaged"):
            chosen_checkpoint(run, choice)
    # A manifest that cannot be read tells no score.
    (run / "checkpoints" / "step_000000000020" / "MANIFEST.json").write_text("{}")
    (run / "checkpoints" / "step_000000000030" / "MANIFEST.json").write_text("{}")
    assert best_score(run, 40) == 3.0
