"""A whole batch in blocks is the batch at once."""

from typing import Any

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import klamp
from klamp.networks import build_network, flatten, whole_batch
from klamp.types import Inputs

BOX = gymnasium.spaces.Box(-1, 1, (3,))
ACTIONS = {
    "discrete": gymnasium.spaces.Discrete(4),
    "box": BOX,
    "joint": gymnasium.spaces.Dict({"a": BOX, "b": gymnasium.spaces.MultiDiscrete([2, 3])}),
}


def test_blocks_divide_the_rows() -> None:
    assert whole_batch.block_size(4096) == 4096
    assert whole_batch.block_size(65536) == 4096
    assert whole_batch.block_size(5000) == 2500
    assert whole_batch.block_size(4099) == 4099


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize(
    "bounds", ["clip", "tanh", pytest.param("beta", marks=pytest.mark.compiles)]
)
def test_blocks_are_the_batch_at_once(
    action: str, bounds: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    if action == "discrete" and bounds != "clip":
        pytest.skip("no bounds")
    settings = klamp.Settings(hidden_sizes=(4,), action_bounds=bounds)
    network = build_network(BOX, ACTIONS[action], settings, key=jax.random.key(0))
    theta, model = flatten(network)
    inputs = Inputs(jnp.asarray(np.random.default_rng(0).normal(size=(12, 3)), np.float32))

    def passed() -> jax.stages.Lowered:
        whole = jax.jit(lambda theta: whole_batch.distribution_and_value(model, theta, inputs))
        return whole.lower(theta)

    together = passed()
    monkeypatch.setattr(whole_batch, "LARGEST", 4)
    monkeypatch.setattr(whole_batch, "SMALLEST", 2)
    apart = passed()
    assert ["while" in each.as_text() for each in (together, apart)] == [False, True]
    at_once, in_blocks = together.compile()(theta), apart.compile()(theta)
    assert jax.tree.structure(in_blocks) == jax.tree.structure(at_once)
    for one, other in zip(jax.tree.leaves(in_blocks), jax.tree.leaves(at_once), strict=True):
        assert one.shape == other.shape
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)
