"""What all built-in tasks share: text and ids, and demonstrations."""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from klamp.lm.tasks.builtin import TASKS
from klamp.lm.tasks.task import demonstrate
from klamp.lm.tokens.sequences import Completions

DATA, KEY, S = jax.random.key(1), jax.random.key(2), 256


@cache
def shown_by(name: str) -> Completions:
    """The first S rows, which all tests look at."""
    return demonstrate(TASKS[name].environment, DATA, jnp.arange(S), KEY)


@pytest.mark.parametrize("name", ["sort", "addition", "memory", "guess"])
def test_the_expert_is_the_best_policy(name) -> None:
    task = TASKS[name]
    shown = shown_by(name)
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
    shown = shown_by(name)
    for tokens, valid in zip(np.asarray(shown.tokens)[:8], np.asarray(shown.valid), strict=False):
        ids = tokens[valid].tolist()
        assert task.encode(task.decode(ids)) == ids
    with pytest.raises(KeyError):
        task.encode("§")


@pytest.mark.parametrize("name", list(TASKS))
def test_a_prompt_is_a_function_of_its_number(name) -> None:
    task = TASKS[name]
    shown = shown_by(name)
    # As many as before: one program serves them all.
    some = jnp.tile(jnp.asarray([200, 7, 7, 31]), S // 4)
    again = demonstrate(task.environment, DATA, some, KEY)
    jax.tree.map(lambda a, b: np.testing.assert_array_equal(a[some], b), shown, again)
    other = demonstrate(task.environment, KEY, jnp.arange(S), KEY)
    assert np.any(other.tokens != shown.tokens)
