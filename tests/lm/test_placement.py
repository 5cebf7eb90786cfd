"""The update over completions on several devices is that on one."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh
from lm.small_models import completions

from klamp.lm.placement import PlacedLearn
from klamp.runtime.joined import ALONE
from klamp.training.placement import AXIS

HERE = Path(__file__)
DEVICES = 4


class Explains:
    """A process whose collective operations fail for a known reason."""

    index, count = 0, 1

    def explained(self, error: Exception) -> Exception:
        return TimeoutError("process 1 is gone")


def told(what: str, model: Any, theta: Any, state: Any, reference: Any, *rest: Any) -> Any:
    """In the place of an update: a number of each argument."""
    played, coefficient, key, progress = rest
    noise = jax.random.bits(key)
    return (
        what == "all",
        model["frozen"] + theta,
        state,
        reference,
        played.tokens.sum(),
        (
            coefficient,
            noise,
            progress,
        ),
    )


def arguments(**more: Any) -> tuple[Any, ...]:
    given = {
        "model": {"frozen": jnp.ones(3, jnp.bfloat16)},
        "theta": jnp.arange(3.0),
        "state": (np.zeros((), np.int32),),
        "reference": jnp.zeros(3),
        "played": completions(),
        "coefficient": np.float32(0.5),
        "key": jax.random.key(7),
        "progress": np.asarray(0.25, np.float32),
    }
    return tuple((given | more).values())


def on(mesh: Mesh, processes: Any = ALONE) -> PlacedLearn:
    return PlacedLearn(jax.jit(told, static_argnums=0), mesh, processes)


def test_each_argument_reaches_the_program_as_it_is() -> None:
    mesh = Mesh(np.array(jax.devices()[:1]), (AXIS,))
    given = arguments()
    learn = on(mesh)
    program = learn.lower("all", *given).compile()
    expected = told("all", *given)
    jax.tree.map(np.testing.assert_array_equal, program(*given), expected)
    # The same program, with other numbers; only what is frozen may be taken from the first call.
    later = arguments(theta=jnp.full(3, 9.0), key=jax.random.key(8), played=completions(seed=3))
    jax.tree.map(np.testing.assert_array_equal, program(*later), told("all", *later))
    critic = learn.lower("critic", *given).compile()
    assert not critic(*given)[0]


def test_what_is_frozen_is_placed_once_and_another_model_anew() -> None:
    mesh = Mesh(np.array(jax.devices()[:1]), (AXIS,))
    learn = on(mesh)
    given = arguments()
    program = learn.lower("all", *given).compile()
    program(*given)
    kept = learn._kept[0][1]
    program(*given)
    assert learn._kept[0][1] is kept
    other = arguments(model={"frozen": jnp.full(3, 5, jnp.bfloat16)})
    np.testing.assert_array_equal(program(*other)[1], [5, 6, 7])


def test_a_failure_is_explained() -> None:
    def breaks(*given: Any) -> Any:
        raise RuntimeError("connection reset by peer")

    learn = on(Mesh(np.array(jax.devices()[:1]), (AXIS,)), Explains())
    with pytest.raises(TimeoutError, match="process 1 is gone"):
        learn._called(breaks, *arguments())


@pytest.mark.slow
def test_four_devices_make_the_update_of_one() -> None:
    """θ to 1e-5, with one sum for each gradient; for PPO, groups, adapters and TRPO."""
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count={DEVICES}"
    done = subprocess.run(
        [sys.executable, str(HERE)],
        env=os.environ
        | {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu", "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr[-4000:]


def compare() -> None:
    """In the other process."""
    from lm.small_models import frozen_head_model, tiny_model

    from klamp.lm.learning import make_learn
    from klamp.lm.presets import configure
    from klamp.training.learning import initial_state
    from klamp.training.placement import mesh_of

    mesh = mesh_of(4, 1)
    assert mesh is not None
    assert mesh.size == DEVICES
    shared = {"prompts": 16, "shards": 4, "generations": 1, "reference_coefficient": 0.1}
    critic = {"critic_epochs": 2, "critic_minibatch_size": 8}
    epochs = {"epochs": 2, "minibatch_size": 8, "learning_rate": 1e-2}
    groups = {"generations": 4, "reference_kl": "loss"}
    cases = [
        ("ppo", tiny_model, critic | epochs | {"max_kl": 1e-3}),
        ("grpo", tiny_model, epochs | groups),
        ("ppo", frozen_head_model, critic | epochs),
        ("trpo", tiny_model, critic | {"cg_iterations": 4, "fisher_subsample": 2}),
    ]
    for name, make, more in cases:
        theta, model = make()
        config = configure("sort", name, shared | more)
        settings = config.settings
        state = initial_state(config.algorithm, model, theta)
        played = completions(settings.completions)
        zero = np.zeros((), np.float32)
        beta = np.asarray(0.1, np.float32)
        given = (model, theta, state, theta, played, beta, jax.random.key(1), zero)
        alone = make_learn(config.algorithm, settings)("all", *given)
        learn = make_learn(config.algorithm, settings, mesh.size)
        lowered = PlacedLearn(learn, mesh, ALONE).lower("all", *given)
        both = lowered.compile()(*given)
        np.testing.assert_allclose(both.theta, alone.theta, rtol=1e-5, atol=1e-6, err_msg=name)
        assert int(both.report.outcome) == int(alone.report.outcome)
        assert not np.array_equal(alone.theta, theta)
        # The gradient of a minibatch is one vector, of the whole network or of the critic.
        text = lowered._lowered.compile().as_text()
        size = theta.size - (model.critic_start if name == "trpo" else 0)
        assert f"f32[{size}]{{0}} all-reduce(" in text, name


if __name__ == "__main__":
    compare()
