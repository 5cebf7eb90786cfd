"""The model is one that other tools take: valid, of a known opset, with the contract's names."""

import sys

import onnx
import pytest
from environments import ACTIONS, OBSERVATIONS
from small_policies import policy

import klamp
from klamp.evaluation.export.onnx_model import IR, OPSET, onnx_model
from klamp.evaluation.export.policy_graph import exported


def test_the_model_says_what_it_takes_and_where_it_is_from():
    model = onnx.load_model_from_string(
        onnx_model(exported(policy(OBSERVATIONS["box"], ACTIONS["box"])))
    )
    onnx.checker.check_model(model, full_check=True)
    assert (model.ir_version, model.opset_import[0].version) == (IR, OPSET)
    (observation,) = model.graph.input
    sizes = observation.type.tensor_type.shape.dim
    assert (observation.name, sizes[0].dim_param, sizes[1].dim_value) == ("observation", "batch", 3)
    assert model.graph.output[0].name == "action"
    about = {entry.key: entry.value for entry in model.metadata_props}
    assert about["env"] == "Some-v0"
    assert about["action_space"] == str(ACTIONS["box"])


def test_without_the_package_it_is_said_what_to_install(monkeypatch):
    built = exported(policy(OBSERVATIONS["box"], ACTIONS["box"]))
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(klamp.ConfigError, match=r"pip install '\.\[export\]'"):
        onnx_model(built)
