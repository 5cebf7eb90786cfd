"""The update over completions on several devices is that on one."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh
from lm.small_models import completions, tiny_decoder

from klamp.lm.config.presets import configure
from klamp.lm.learning.update import make_learn
from klamp.lm.networks.model import language_model
from klamp.lm.training.iteration import COMPLETIONS, FROZEN
from klamp.runtime.joined import ALONE
from klamp.training.learning import initial_state
from klamp.training.placement import AXIS, PlacedLearn, mesh_of

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
    return placed(jax.jit(told, static_argnums=0), mesh, processes)


def placed(learn: Any, mesh: Mesh, processes: Any = ALONE) -> PlacedLearn:
    return PlacedLearn(learn, mesh, processes, batch=COMPLETIONS, axis=0, constant=FROZEN, static=1)


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


@pytest.mark.compiles
def test_four_devices_make_the_update_of_one() -> None:
    """In float64 θ to 1e-9, with one sum for each gradient; PPO, groups, a frozen head, TRPO."""
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count={DEVICES}"
    more = {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu", "JAX_ENABLE_X64": "1"}
    done = subprocess.run(
        [sys.executable, str(HERE)],
        env=os.environ | more | {"PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
        timeout=900,
    )
    assert done.returncode == 0, done.stderr[-4000:]


def doubled(tree: Any) -> Any:
    """In float64, in which what is left of a difference is the order of sums."""

    def double(leaf: Any) -> Any:
        real = jnp.issubdtype(jnp.asarray(leaf).dtype, jnp.floating)
        return jnp.asarray(leaf, jnp.float64) if real else leaf

    return jax.tree.map(double, tree)


CRITIC = {"critic_epochs": 2, "critic_minibatch_size": 8}
EPOCHS = {"epochs": 2, "minibatch_size": 8, "learning_rate": 1e-2}
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "ppo": ("ppo", CRITIC | EPOCHS | {"max_kl": 1e-3}),
    "frozen head": ("ppo", CRITIC | EPOCHS),
    "grpo": ("grpo", EPOCHS | {"generations": 4, "reference_kl": "loss"}),
    # More sequences than a block of its gradient holds.
    "trpo": ("trpo", CRITIC | {"prompts": 128, "cg_iterations": 10, "fisher_subsample": 4}),
}


def compare() -> None:
    """In the other process."""
    mesh = mesh_of(4, 1)
    assert mesh is not None
    assert mesh.size == DEVICES
    shared = {"prompts": 16, "shards": 4, "generations": 1, "reference_coefficient": 0.1}
    for name, (algorithm, more) in CASES.items():
        config = configure("sort", algorithm, shared | more)
        settings = config.settings
        decoder = doubled(tiny_decoder())
        trainable: Any = eqx.is_inexact_array
        if name == "frozen head":
            nothing = jax.tree.map(lambda _: False, decoder)
            trainable = eqx.tree_at(lambda of: of.blocks, nothing, True)
        parts = {"temperature": 0.7, "value_hidden": 8, "key": jax.random.key(1)}
        theta, model = language_model(decoder, trainable, **parts)
        theta = doubled(theta)
        state = doubled(initial_state(config.algorithm, model, theta))
        played = doubled(completions(settings.completions))
        numbers = (jnp.asarray(0.1), jax.random.key(1), jnp.zeros(()))
        given = (model, theta, state, theta, played, *numbers)
        alone = make_learn(config.algorithm, settings)("all", *given)
        learn = make_learn(config.algorithm, settings, mesh.size)
        program = placed(learn, mesh).lower("all", *given)._lowered.compile()
        both = placed(learn, mesh)._called(program, *given)
        assert both.theta.dtype == jnp.float64
        np.testing.assert_allclose(both.theta, alone.theta, rtol=0, atol=1e-9, err_msg=name)
        assert int(both.report.outcome) == int(alone.report.outcome)
        assert float(jnp.max(jnp.abs(alone.theta - theta))) > 1e-3
        # The gradient of a minibatch is one vector, of the whole network or of the critic.
        size = theta.size - (model.critic_start if name == "trpo" else 0)
        text = program.as_text()
        assert f"f64[{size}]{{0}} all-reduce(" in text, name
        # No row moves; which of them stands in for those of weight 0 is a number of each device.
        moves = r"= (\S+?)\{\S* (?:all-gather|all-to-all|collective-permute)\("
        assert {shape[-3:] for shape in re.findall(moves, text)} <= {f"[{DEVICES}]"}, name


if __name__ == "__main__":
    compare()
