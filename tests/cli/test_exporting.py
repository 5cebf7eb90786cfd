"""`klamp export` writes what the policy does."""

from pathlib import Path

import numpy as np
import onnxruntime
import pytest

import klamp
from klamp.cli.main import main
from klamp.runtime.numpy_policy import NumpyPolicy


def test_both_formats_are_written_and_run(
    trained: klamp.Result, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    batch = np.random.default_rng(0).normal(size=(50, 4)).astype(np.float32)
    wanted = trained.policy.act(batch, deterministic=True)
    model, archive = str(tmp_path / "p.onnx"), str(tmp_path / "p.npz")
    assert main(["export", str(trained.folder), "--format", "onnx", "--out", model]) == 0
    assert main(["export", str(trained.folder), "--format", "numpy", "--out", archive]) == 0
    assert f"wrote {archive}, {tmp_path / 'numpy_policy.py'};" in capsys.readouterr().out
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    np.testing.assert_array_equal(session.run(["action"], {"observation": batch})[0], wanted)
    np.testing.assert_array_equal(NumpyPolicy(archive).act(batch), wanted)


def test_the_policy_of_an_earlier_checkpoint(trained: klamp.Result, tmp_path: Path) -> None:
    words = ["export", str(trained.folder), "--format", "numpy", "--out", str(tmp_path / "p.npz")]
    assert main([*words, "--checkpoint", "0"]) == 0
    batch = np.random.default_rng(0).normal(size=(50, 4)).astype(np.float32)
    first = klamp.load(trained.folder, checkpoint=0)
    values = NumpyPolicy(tmp_path / "p.npz")(observation=batch)["value"]
    np.testing.assert_allclose(values, first.value(batch), atol=1e-5)
    assert not np.allclose(values, trained.policy.value(batch), atol=1e-3)


def test_the_file_ends_as_its_format_does(
    trained: klamp.Result, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["export", str(trained.folder), "--format", "numpy", "--out", "p.onnx"]
    assert main(words) == 2
    assert "a file of the format numpy ends in `.npz`" in capsys.readouterr().err
