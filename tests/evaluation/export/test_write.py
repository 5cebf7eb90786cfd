"""Policies of every kind do the same by onnxruntime, by numpy and by ``act``."""

import io

import numpy as np
import onnxruntime
import pytest
from environments import ACTIONS, OBSERVATIONS
from gymnasium import spaces
from small_policies import policy

import klamp
from klamp.evaluation.export.check import TOLERANCE, differences
from klamp.evaluation.export.numpy_archive import numpy_archive
from klamp.evaluation.export.onnx_model import onnx_model
from klamp.evaluation.export.policy_graph import exported
from klamp.mathematics.normalization import Scaling
from klamp.runtime.numpy_policy import NumpyPolicy

SCALING = Scaling(np.array([0.5, 0.2, -1], np.float32), np.array([2, 9, 0.1], np.float32))
MASKED = spaces.Dict({"action_mask": spaces.MultiBinary(3), "seen": OBSERVATIONS["box"]})
POLICIES = {
    # Each kind of observation and each kind of action stands in one pair.
    "image": ("image", "discrete", {}),
    "discrete": ("discrete", "multidiscrete", {}),
    "multidiscrete": ("multidiscrete", "multibinary", {}),
    "multibinary": ("multibinary", "box", {}),
    "dict": ("dict", "tuple", {}),
    "tuple": ("tuple", "dict", {}),
    "normalised": ("box", "box", {"scaling": SCALING, "activation": "gelu"}),
    "tanh": ("box", "box", {"action_bounds": "tanh", "action_scale": "state"}),
    "beta": ("box", "dict", {"action_bounds": "beta", "activation": "elu"}),
    "scheduled": ("box", "box", {"action_scale": "scheduled", "log_std": -1.0}),
    "recurrent": ("box", "multidiscrete", {"recurrent_size": 4, "scaling": SCALING}),
    "masked": ("box", "multidiscrete", {"masked": True, "shared_network": True}),
}


@pytest.mark.parametrize(
    "name",
    [
        *(pytest.param(n, marks=pytest.mark.compiles if n == "image" else ()) for n in POLICIES),
        "masked in the observation",
    ],
)
def test_exports_of_every_kind_act_as_the_policy(name):
    if name in POLICIES:
        seen, done, settings = POLICIES[name]
        some = policy(OBSERVATIONS[seen], ACTIONS[done], spread=3.0, **settings)
    else:
        some = policy(MASKED, ACTIONS["discrete"])
    built = exported(some)
    session = onnxruntime.InferenceSession(onnx_model(built), providers=["CPUExecutionProvider"])
    names = [one.name for one in session.get_outputs()]
    runner = NumpyPolicy(io.BytesIO(numpy_archive(built)))
    for run in (
        lambda given: dict(zip(names, session.run(names, given), strict=True)),
        lambda given: runner(**given),
    ):
        found = differences(some, built, run, rows=20)
        assert {key.split(".")[0] for key in found} == {"action", "value"}
        assert max(found.values()) <= TOLERANCE, found


def test_files_are_written_and_run(tmp_path):
    some = policy(OBSERVATIONS["dict"], ACTIONS["dict"])
    assert some.export(tmp_path / "a.onnx") == [tmp_path / "a.onnx"]
    archive, runner = some.export(str(tmp_path / "a.npz"))
    assert runner == tmp_path / "numpy_policy.py"
    observation = {"context": np.int64(2), "noise": np.array([0.1, -0.2], np.float32)}
    action, wanted = NumpyPolicy(archive).act(observation), some.act(observation, True)
    assert action["choice"] == wanted["choice"]
    np.testing.assert_allclose(action["force"], wanted["force"], atol=1e-6)


def test_where_to_write_is_checked_first(tmp_path):
    some = policy(OBSERVATIONS["box"], ACTIONS["box"])
    with pytest.raises(klamp.ConfigError, match=r"must end in `.onnx` or `.npz`"):
        some.export(tmp_path / "policy.pt")
    with pytest.raises(klamp.ConfigError, match="does not exist"):
        some.export(tmp_path / "nowhere" / "policy.npz")
