"""What an update is told: a pytree whose settings are static, from whatever loop they come."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from probe import SETTINGS, context_of, make_model

from klamp.algorithms import Context, UpdateSettings


@dataclass(frozen=True)
class OfAnotherLoop:
    """The settings of a loop that is not klamp's."""

    sequence: int = 1
    shards: int = 1
    advantage_normalization: str = "off"
    critic_epochs: int = 1
    critic_minibatch_size: int = 8
    critic_learning_rate: float = 1e-3


def test_it_passes_through_jit_and_is_compiled_once_for_all_keys() -> None:
    _, model = make_model()
    traced: list[int] = []

    @jax.jit
    def draw(context: Context) -> jax.Array:
        traced.append(context.settings.critic_epochs)
        return jax.random.uniform(context.key) * context.progress

    first, second = (draw(context_of(model, seed=seed, progress=0.5)) for seed in (1, 2))
    assert float(first) != float(second)
    assert traced == [SETTINGS.critic_epochs]
    np.testing.assert_allclose(first, 0.5 * jax.random.uniform(jax.random.key(1)))


def test_settings_may_be_any_that_have_what_updates_read() -> None:
    assert isinstance(SETTINGS, UpdateSettings)
    own = OfAnotherLoop()
    assert isinstance(own, UpdateSettings)
    context = Context(own, make_model()[1], jax.random.key(0), jnp.zeros(()))
    assert jax.jit(lambda context: context.settings.sequence + context.progress)(context) == 1
