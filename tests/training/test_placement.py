"""The update over rows on several devices is that on one: in a process with four devices."""

import os
import re
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__)
DEVICES = 4


def test_four_devices_make_the_update_of_one() -> None:
    """θ to 1e-5, with nothing but sums between devices in the steps; for PPO and TRPO."""
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
    from klamp.runtime.seeding import Purpose, key_words
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
        learn = make_learn(model, algorithm, settings)
        placed = PlacedLearn(learn, mesh, n, lambda error: error)
        program = placed.lower(*arguments).compile()
        both, _, said = program(*arguments)
        np.testing.assert_allclose(both, alone, rtol=1e-5, atol=1e-6)
        assert int(said.outcome) == int(told.outcome)
        assert not np.array_equal(alone, theta)
        text = placed._program.as_text()
        sums = len(re.findall(r" all-reduce(?:-start)?\(", text))
        # Once per update, the row that stands in for those of weight 0 is looked up (``scored``).
        moved = [
            line
            for line in re.findall(
                r" (?:all-gather|all-to-all|collective-permute)(?:-start)?\(.*", text
            )
            if "/scrub/" not in line and "/dynamic_slice" not in line
        ]
        assert sums, "the rows lie on one device"
        assert not moved, moved


if __name__ == "__main__":
    compare()
