"""What all built-in tasks share: text and ids, and demonstrations."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from klamp.lm.tasks.builtin import TASKS
from klamp.lm.tasks.task import demonstrate

DATA, KEY, S = jax.random.key(1), jax.random.key(2), 256


@pytest.mark.parametrize("name", ["sort", "addition", "memory", "guess"])
def test_the_expert_is_the_best_policy(name) -> None:
    task = TASKS[name]
    shown = demonstrate(task.environment, DATA, jnp.arange(S), KEY)
    earned = np.asarray(shown.reward.sum(axis=1))
    assert bool(jnp.all(jnp.any(shown.terminated, axis=1)))
    if task.exact:
        assert task.optimum == 1
        assert np.all(earned == 1)
    else:
        # Every number comes with one chance in sixteen.
        assert abs(earned.mean() - task.optimum) < 4 * earned.std() / np.sqrt(S)


@pytest.mark.parametrize("name", list(TASKS))
def test_tokens_are_text_and_text_is_tokens(name) -> None:
    task = TASKS[name]
    shown = demonstrate(task.environment, DATA, jnp.arange(8), KEY)
    for tokens, valid in zip(shown.tokens, shown.valid, strict=True):
        ids = np.asarray(tokens)[np.asarray(valid)].tolist()
        assert task.encode(task.decode(ids)) == ids
    with pytest.raises(KeyError):
        task.encode("§")


@pytest.mark.parametrize("name", list(TASKS))
def test_a_prompt_is_a_function_of_its_number(name) -> None:
    task = TASKS[name]
    shown = demonstrate(task.environment, DATA, jnp.arange(S), KEY)
    some = jnp.asarray([200, 7, 7, 31])
    again = demonstrate(task.environment, DATA, some, KEY)
    jax.tree.map(lambda a, b: np.testing.assert_array_equal(a[some], b), shown, again)
    other = demonstrate(task.environment, KEY, jnp.arange(S), KEY)
    assert np.any(other.tokens != shown.tokens)
