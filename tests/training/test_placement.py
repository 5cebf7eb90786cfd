"""The update over rows on several devices is that on one: in a process with four devices."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__)
DEVICES = 4


@pytest.mark.compiles
def test_four_devices_make_the_update_of_one() -> None:
    """θ to 1e-5, with nothing but sums between devices, one per gradient; for PPO and TRPO."""
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count={DEVICES}"
    done = subprocess.run(
        [sys.executable, str(HERE)],
        env=os.environ | {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-4000:]


def compare() -> None:
    """In the other process."""
    import gymnasium
    import jax
    import numpy as np

    import klamp
    from klamp.networks import build_network, flatten
    from klamp.runtime.joined import ALONE
    from klamp.runtime.seeding import Purpose, key_words
    from klamp.training.iteration import ROLLOUT
    from klamp.training.learning import initial_state, make_learn
    from klamp.training.placement import PlacedLearn, mesh_of
    from klamp.types import Rollout

    t, n = 8, 8
    rng = np.random.default_rng(0)
    one = gymnasium.make("CartPole-v1")
    space, action = one.observation_space, one.action_space
    observation = rng.normal(size=(t + 1, n, 4)).astype(np.float32)
    rollout = Rollout(
        observation[:-1],
        observation[1:],
        rng.integers(0, 2, (t, n), np.int32),
        rng.normal(size=(t, n)).astype(np.float32),
        rng.random((t, n)) < 0.1,
        rng.random((t, n)) < 0.1,
        (rng.random((t, n)) < 0.9).astype(np.float32),
    )
    mesh = mesh_of(4, 1)
    assert mesh is not None
    assert mesh.size == DEVICES
    assert mesh_of(2, 1).size == 2
    assert mesh_of(1, 1) is None
    algorithms = [
        klamp.PPO(epochs=2, minibatch_size=16, learning_rate=1e-2),
        klamp.TRPO(cg_iterations=4),
    ]
    for algorithm in algorithms:
        settings = klamp.Settings(
            num_envs=n,
            rollout_length=t,
            hidden_sizes=(6,),
            shards=4,
            critic_epochs=2,
            critic_minibatch_size=24,
        )
        network = build_network(space, action, settings, key=jax.random.key(0))
        theta, model = flatten(network)
        state = initial_state(algorithm, model, theta)
        one = np.ones((), np.float32)
        words, zero = key_words(1, Purpose.SHUFFLE), np.zeros((), np.float32)
        arguments = (theta, state, rollout, None, one, words, zero)
        alone, _, told = make_learn(model, algorithm, settings)(*arguments)
        learn = make_learn(model, algorithm, settings, mesh.size)
        lowered = PlacedLearn(learn, mesh, ALONE, batch=ROLLOUT, axis=1).lower(*arguments)
        both, _, said = lowered.compile()(*arguments)
        np.testing.assert_allclose(both, alone, rtol=1e-5, atol=1e-6)
        assert int(said.outcome) == int(told.outcome)
        assert not np.array_equal(alone, theta)
        text = lowered._lowered.compile().as_text()
        sums = len(re.findall(r" all-reduce(?:-start)?\(", text))
        assert sums, "the rows lie on one device"
        # Which row stands in for those of weight 0 is one number of each device (``scored``).
        moved = re.findall(r"= (\S+) (?:all-gather|all-to-all|collective-permute)\(", text)
        assert {int(re.search(r"\[(\d+)\]", shape)[1]) for shape in moved} <= {DEVICES}, moved
        # The gradient of a minibatch is one vector, of the whole network or of the critic.
        vectors = re.findall(r"= f32\[(\d+)\]\{0\} all-reduce\(", text)
        size = theta.size if isinstance(algorithm, klamp.PPO) else theta.size - model.critic_start
        assert str(size) in vectors, vectors


if __name__ == "__main__":
    compare()
