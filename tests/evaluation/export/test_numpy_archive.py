"""The archive holds arrays and text alone, and its runner is put beside it."""

import io
import json

import numpy as np
import pytest
from environments import ACTIONS, OBSERVATIONS
from small_policies import policy

import klamp
from klamp.evaluation.export.numpy_archive import numpy_archive, runner_beside
from klamp.evaluation.export.policy_graph import exported


def test_the_archive_is_read_without_pickle():
    data = numpy_archive(exported(policy(OBSERVATIONS["box"], ACTIONS["dict"])))
    with np.load(io.BytesIO(data), allow_pickle=False) as file:
        program = json.loads(str(file["program"]))
        assert all(file[name].dtype.kind in "fiub" for name in file.files if name != "program")
    assert program["action"] == {"choice": "action.choice", "force": "action.force"}


def test_a_file_of_somebody_else_is_not_replaced(tmp_path):
    runner, text = runner_beside(tmp_path / "a.npz")
    runner.write_text(text + "# an older one")
    assert runner_beside(tmp_path / "a.npz")[1] == text
    runner.write_text("mine = 1\n")
    with pytest.raises(klamp.ConfigError, match=r"no file of klamp's.*move that file away"):
        runner_beside(tmp_path / "a.npz")
