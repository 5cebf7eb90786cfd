"""From completions to an update: the same mathematics as in control, to the bit."""

import math
import re
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from lm.small_models import SETTINGS, completions, frozen_head_model, tiny_model

from klamp.algorithms import Context
from klamp.config.algorithms import A2C, NPG, PPO, REINFORCE, TRPO, PPOPenalty
from klamp.lm.config import Settings
from klamp.lm.learning import Learnt, make_learn, prepare
from klamp.networks import ActorCritic, Model, flatten
from klamp.training.learning import initial_state, learn_from_batch
from klamp.types import Batch, Inputs

ALGORITHMS = {
    "ppo": PPO(epochs=2, minibatch_size=4, max_kl=1e-4),
    "ppo-kl": PPOPenalty(epochs=2, minibatch_size=4),
    "trpo": TRPO(max_kl=1e-3),
    "npg": NPG(max_kl=1e-3),
    "a2c": A2C(),
    "reinforce": REINFORCE(),
}
NOTHING = jnp.zeros(())


def in_rows(tree: Any) -> Any:
    """[S, 1, …] as [S, …]."""
    return jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), tree)


class OneToken(eqx.Module):
    """A policy or critic of sequences with one action each, as control has them: [S]."""

    inner: Any

    def __call__(self, inputs: Inputs) -> Any:
        return in_rows(self.inner(inputs))


def updated(algorithm: Any, model: Model, theta: jax.Array, batch: Batch) -> np.ndarray:
    context = Context(SETTINGS, model, jax.random.key(2), NOTHING)
    state = initial_state(algorithm, model, theta)
    learn = jax.jit(learn_from_batch, static_argnums=0)
    return np.asarray(learn(algorithm, context, theta, state, batch)[0])


@pytest.mark.parametrize("name", ALGORITHMS)
def test_a_token_is_an_action(name: str) -> None:
    """The same samples as [S, 1] and as [S], as control has them: the same θ, to the bit."""
    theta, model = tiny_model()
    batch = prepare(model, theta, theta, completions(actions=1), NOTHING, SETTINGS)
    assert batch.advantage.shape == (8, 1)
    whole = model.unravel(theta)
    network = ActorCritic(OneToken(whole.actor), whole.encoder, OneToken(whole.critic))
    same, control = flatten(network)
    np.testing.assert_array_equal(theta, same)
    rows = in_rows(batch._replace(inputs=None))
    one = updated(ALGORITHMS[name], model, theta, batch)
    other = updated(ALGORITHMS[name], control, theta, rows._replace(inputs=batch.inputs))
    assert np.any(one != theta)
    if name == "ppo-kl":
        np.testing.assert_array_max_ulp(one, other, 1)
    else:
        np.testing.assert_array_equal(one, other)


def learnt(
    settings: Settings = SETTINGS, algorithm: Any = ALGORITHMS["ppo"], **more: Any
) -> Learnt:
    theta, model = tiny_model()
    state = initial_state(algorithm, model, theta)
    parts = (state, more.get("reference", theta), completions(**more.get("played", {})))
    run = make_learn(algorithm, settings)
    return run("all", model, theta, *parts, more.get("price", NOTHING), jax.random.key(0), NOTHING)


def test_what_is_frozen_is_no_constant_of_the_program() -> None:
    """Of the compiled update: the frozen head and the reference come as arguments."""
    theta, model = frozen_head_model()
    assert len(jax.tree.leaves(model)) > 0
    algorithm = ALGORITHMS["trpo"]
    arguments = (initial_state(algorithm, model, theta), theta, completions(), NOTHING)
    run = make_learn(algorithm, SETTINGS)
    program = run.lower("all", model, theta, *arguments, jax.random.key(0), NOTHING).as_text()
    constants = re.findall(r"constant dense<([\[\"])[^>]*> : tensor<([0-9x]*)x[a-z]", program)
    sizes = [math.prod(map(int, shape.split("x"))) for _, shape in constants]
    assert max(sizes, default=0) < 32, sizes
