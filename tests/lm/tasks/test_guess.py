"""Binary search as the best way to guess."""

import jax
import jax.numpy as jnp
import pytest

from klamp.lm.tasks.guess import Guess, Secret


@pytest.mark.parametrize("numbers", [1, 2, 16, 32])
def test_the_optimum_is_the_mean_over_all_numbers(numbers) -> None:
    """By the best tree: 1 number at the first guess, 2 at the second, 4 at the third, …"""
    task = Guess(numbers, turns=numbers.bit_length() + 1)
    levels = sorted(level for level in range(8) for _ in range(2**level))
    assert task.optimum == pytest.approx(-sum(1 + level for level in levels[:numbers]) / numbers)

    def searched(number):
        state = Secret(jnp.asarray(number), jnp.asarray(0), jnp.asarray(numbers - 1))
        for turn in range(1, task.turns + 1):
            answer = task.step(state, *task.expert(state, jax.random.key(0)))
            if answer.terminated:
                return turn
            state = answer.state
        raise AssertionError(number)

    assert sum(map(searched, range(numbers))) == -task.optimum * numbers


def test_what_is_no_number_is_asked_again() -> None:
    task = Guess(4)
    state, *_ = task.reset(jax.random.key(0))
    for token in range(4, 8):
        turn = task.step(state, jnp.asarray([token]), jnp.asarray(1))
        assert task.vocabulary[int(turn.observation[0])] == "?"
        assert not turn.terminated
        assert turn.reward == -1
