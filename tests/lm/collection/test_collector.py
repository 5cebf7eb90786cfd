"""Completions of a task, and groups that are drawn again."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from lm.small_models import completions

from klamp.lm.collection.collector import TaskCollector, scores, with_spread, written
from klamp.lm.config.settings import Settings
from klamp.lm.networks.untrained import random_decoder
from klamp.lm.tasks.builtin import TASKS
from klamp.lm.tokens.sequences import Completions

GROUPS = Settings(prompts=4, generations=2, advantage="group", redraw_groups=2)


def earning(returns: list[float], length: int = 2) -> Completions:
    """Four groups of two completions, each with this return."""
    played = completions(actions=length)
    reward = jnp.zeros_like(played.reward).at[:, 0].set(jnp.asarray(returns))
    return played._replace(reward=reward, prompt=jnp.arange(8) + 100 * length)


@pytest.mark.compiles
def test_groups_that_are_all_alike_are_replaced_while_draws_are_left() -> None:
    draws = [
        earning([0, 1, 1, 1, 0, 0, 2, 2]),
        earning([1, 1, 0, 1, 0, 0, 1, 1], length=3),
        earning([0, 0, 0, 0, 3, 4, 5, 5], length=2),
    ]
    asked: list[int] = []

    def draw(number: int) -> Completions:
        asked.append(number)
        return draws[number]

    found, sampled = with_spread(draw, GROUPS)
    assert asked == [0, 1, 2]
    assert sampled == sum(int(each.weight.sum()) for each in draws)
    returns, lengths = scores(found)
    np.testing.assert_array_equal(returns, [0, 1, 0, 1, 3, 4, 2, 2])
    np.testing.assert_array_equal(lengths, [2, 1, 3, 2, 2, 1, 2, 1])
    assert found.tokens.shape[1] == draws[1].tokens.shape[1]
    asked.clear()
    draws[0] = earning([0, 1] * 4)
    with_spread(draw, GROUPS)
    assert asked == [0]


def test_a_completion_depends_on_seed_update_and_place_alone() -> None:
    task = TASKS["sort"]
    decoder = random_decoder(task.decoder, jax.random.key(0))

    def played(update: int, **settings: Any) -> Any:
        chosen = Settings(**({"prompts": 3, "generations": 2} | settings))
        return TaskCollector(task, chosen).collect(decoder, update)

    one, again, later = played(5), played(5), played(6)
    np.testing.assert_array_equal(one.completions.tokens, again.completions.tokens)
    prompts = np.asarray(one.completions.tokens)[:, :7]
    np.testing.assert_array_equal(prompts[::2], prompts[1::2])
    assert (
        len({tuple(row) for row in [*prompts, *np.asarray(later.completions.tokens)[:, :7]]}) == 6
    )
    assert not np.array_equal(one.completions.action[0], one.completions.action[1])
    line = one.metrics()
    assert line["completion_length_mean"] == 6
    assert line["reward_mean"] == one.returns.mean() == one.accuracy
    assert line["truncated_share"] == 0
    assert one.sampled == 36
    sample = written(one.completions, one.returns, task.decode)[0]
    assert (len(sample["prompt"]), len(sample["completion"]), sample["length"]) == (7, 6, 6)
