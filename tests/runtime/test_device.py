"""Compiled programs are kept where the user says, or where caches belong, or not at all."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jax
import numpy as np
import pytest

import klamp
from klamp.networks import layers
from klamp.runtime import device
from klamp.runtime.cpu_matmul import rows_first
from klamp.training import seeds


@pytest.mark.parametrize("cpu", [True, False])
def test_what_is_fetched_is_numpys(monkeypatch, cpu: bool) -> None:
    monkeypatch.setattr(device, "cpu", lambda: cpu)
    tree = {"a": jax.numpy.arange(3), "b": (jax.numpy.ones(()), None)}
    found = device.on_host(tree)
    assert all(isinstance(leaf, np.ndarray) for leaf in jax.tree.leaves(found))
    np.testing.assert_array_equal(found["a"], [0, 1, 2])


class Device:
    """What JAX has where there is a GPU, as far as it is asked."""

    platform = "gpu"


@pytest.mark.parametrize("machine", ["cpu", "gpu"])
def test_the_chosen_device_tells_where_is_computed(monkeypatch, machine: str) -> None:
    """A machine's best device is not the one that a run was told to take."""
    monkeypatch.setattr(jax, "default_backend", lambda: machine)
    assert device.cpu() is (machine == "cpu")
    for chosen, expected in ((jax.devices("cpu")[0], True), ("cpu", True), ("gpu", False)):
        with jax.default_device(chosen):
            assert device.cpu() is expected
    with jax.default_device(Device()):
        assert not device.cpu()


def test_a_run_told_to_take_the_cpu_computes_as_on_a_machine_without_a_gpu(monkeypatch) -> None:
    """`--device cpu`: numpy acts, products are in the CPU's order, seeds go to processes."""
    before = jax.config.jax_default_device
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    config = klamp.RunConfig("gymnax:CartPole-v1", klamp.PPO())
    try:
        device.use_device("cpu")
        assert rows_first(jax.numpy.sum) is not jax.numpy.sum
        convolve = layers.Convolution(1, 1, 3, 1, "VALID", jax.random.key(0))
        assert "conv_general" not in str(jax.make_jaxpr(convolve)(jax.numpy.ones((1, 9, 9, 1))))
        source: Any = SimpleNamespace(device=lambda vectorization: object())
        assert not seeds.runs_as_one_program(source, config)
    finally:
        jax.config.update("jax_default_device", before)


RUN = {"num_envs": 2, "rollout_length": 16, "hidden_sizes": (4,), "quiet": True}


def test_a_run_is_float32_whatever_the_process_is_set_to(tmp_path: Path) -> None:
    """Trained in one precision, loaded and gone on with in the other, to the same bytes."""
    wide = klamp.PPO(epochs=1, minibatch_size=32)
    ordinary = klamp.train("Pendulum-v1", wide, steps=64, out=tmp_path / "a", **RUN)
    with jax.enable_x64(True):
        switched = klamp.train("Pendulum-v1", wide, steps=32, out=tmp_path / "b", **RUN)
        assert switched.policy.theta.dtype == np.float32
    switched = klamp.resume(tmp_path / "b", steps=64, quiet=True)
    seen = np.zeros((3, 3), np.float32)
    with jax.enable_x64(True):
        again = klamp.train("Pendulum-v1", wide, steps=32, out=tmp_path / "c", **RUN)
        again = klamp.resume(tmp_path / "c", steps=64, quiet=True)
        loaded = klamp.load(tmp_path / "a")
        value, returns = loaded.value(seen), klamp.evaluate(loaded, episodes=1).returns
        action = loaded.act(seen, deterministic=True)
        assert jax.numpy.zeros(1).dtype == np.float64  # The user's own arrays are as they were.
    for run in (switched, again, klamp.load(tmp_path / "c")):
        policy = getattr(run, "policy", run)
        np.testing.assert_array_equal(policy.theta, ordinary.policy.theta)
    np.testing.assert_array_equal(value, ordinary.policy.value(seen))
    np.testing.assert_array_equal(action, ordinary.policy.act(seen, deterministic=True))
    np.testing.assert_array_equal(returns, klamp.evaluate(ordinary.policy, episodes=1).returns)


def test_the_mathematics_takes_the_precision_that_it_is_given() -> None:
    def policy(theta, inputs):
        return klamp.Categorical(inputs @ theta)

    with jax.enable_x64(True):
        inputs, theta = jax.numpy.eye(4, 3), jax.numpy.zeros((3, 2))
        old, action = policy(theta, inputs), jax.numpy.array([0, 1, 0, 1])
        batch = klamp.Batch(inputs, action, jax.numpy.arange(4.0), old, jax.numpy.ones(4))
        stepped, report = klamp.trust_region_step(policy, theta, batch)
        assert stepped.dtype == report.kl.dtype == np.float64
        assert int(report.outcome) == klamp.Outcome.ACCEPTED
