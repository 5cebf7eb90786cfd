"""Sorting and addition, judged again from the text."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from klamp.lm.tasks.builtin import TASKS
from klamp.lm.tasks.task import demonstrate


@pytest.mark.parametrize("name", ["sort", "addition"])
def test_right_answers_earn_1_and_wrong_ones_0(name) -> None:
    task = TASKS[name]
    environment = task.environment
    shown = demonstrate(environment, jax.random.key(1), jnp.arange(256), jax.random.key(2))
    texts = [task.decode(np.asarray(row)) for row in shown.tokens]
    for text in texts:
        if name == "sort":
            digits, answer = text.split(">")
            assert answer == "".join(sorted(digits))
        else:
            terms, answer = text.split("=")
            assert answer == f"{sum(map(int, terms.split('+'))):03d}"
    assert len(set(texts)) > 245
    state, _prompt, _ = jax.jit(environment.reset)(jax.random.key(4))
    right, count = environment.expert(state, jax.random.key(0))
    step = jax.jit(environment.step)
    assert step(state, right, count).reward == 1
    for place in range(len(right)):
        for token in range(len(task.vocabulary)):
            wrong = right.at[place].set(token)
            assert step(state, wrong, count).reward == (token == right[place])
