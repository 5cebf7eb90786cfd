"""The table of built-in tasks."""

import jax
import pytest

from klamp.lm.networks.untrained import random_decoder
from klamp.lm.tasks.builtin import TASKS


@pytest.mark.parametrize("name", list(TASKS))
def test_each_has_a_small_decoder_that_holds_its_longest_episode(name) -> None:
    task = TASKS[name]
    decoder = jax.eval_shape(lambda: random_decoder(task.decoder, jax.random.key(0)))
    count = sum(leaf.size for leaf in jax.tree.leaves(decoder))
    assert 70_000 < count < 80_000
    assert task.decoder.vocabulary == len(task.vocabulary) == len(set(task.vocabulary))
    environment = task.environment
    state, prompt, _ = jax.eval_shape(environment.reset, jax.random.key(0))
    tokens = jax.ShapeDtypeStruct((environment.limits.new_tokens,), "int32")
    turn = jax.eval_shape(environment.step, state, tokens, jax.ShapeDtypeStruct((), "int32"))
    assert jax.tree.structure(turn.state) == jax.tree.structure(state)
    each = environment.limits.new_tokens + len(turn.observation)
    assert len(prompt) + environment.turns * each <= task.decoder.context
