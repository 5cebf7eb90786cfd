"""What an exported policy takes and gives, by name."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import pytest
from environments import ACTIONS, OBSERVATIONS
from gymnasium import spaces
from small_policies import policy

import klamp
from klamp.evaluation.export.policy_graph import exported


def described(named, graph):
    return {name: (graph.values[n].shape, graph.values[n].dtype.name) for name, n in named.items()}


def test_inputs_and_outputs_of_parts_are_named_by_their_keys():
    graph = exported(policy(OBSERVATIONS["dict"], ACTIONS["tuple"])).graph
    assert described(graph.inputs, graph) == {
        "observation.context": ((None,), "int64"),
        "observation.noise": ((None, 2), "float32"),
    }
    assert described(graph.outputs, graph) == {
        "action.0": ((None, 2), "float32"),
        "action.1.bits": ((None, 3), "int8"),
        "action_mean.0": ((None, 2), "float32"),
        "log_std.0": ((None, 2), "float32"),
        "logits.1.bits": ((None, 3), "float32"),
        "value": ((None,), "float32"),
    }


def test_masks_and_hidden_states_are_inputs():
    space = spaces.Dict({"action_mask": spaces.MultiBinary(3), "seen": OBSERVATIONS["box"]})
    graph = exported(policy(space, ACTIONS["discrete"], recurrent_size=4)).graph
    assert described(graph.inputs, graph) == {
        "observation": ((None, 3), "float32"),
        "action_mask": ((None, 3), "bool"),
        "hidden_state": ((None, 4), "float32"),
        "episode_start": ((None,), "bool"),
    }
    assert list(graph.outputs) == ["action", "logits", "value", "next_hidden_state"]


@pytest.mark.compiles
def test_images_are_convolved_by_one_operation_each():
    graph = exported(policy(OBSERVATIONS["image"], ACTIONS["box"])).graph
    # Three layers of the policy and three of the critic.
    assert [node.name for node in graph.nodes].count("convolve") == 6
    assert described(graph.inputs, graph) == {"observation": ((None, 9, 9, 1), "uint8")}


def test_an_operation_that_is_not_known_is_named():
    class Sorted(eqx.Module):
        torso: object

        def __call__(self, inputs):
            return self.torso(inputs._replace(observation=jnp.sort(inputs.observation)))

    some = policy(OBSERVATIONS["box"], ACTIONS["discrete"])
    network = some.model.unravel(some.theta)
    odd = eqx.tree_at(lambda net: net.actor.torso, network, Sorted(network.actor.torso))
    some.theta, some.model = klamp.networks.flatten(odd)
    with pytest.raises(klamp.ConfigError, match=r"cannot be exported: .* operation `sort`"):
        exported(some)
    assert np.isfinite(some.value(np.zeros(3)))
