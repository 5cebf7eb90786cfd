"""Episodes of several turns of token ids, read again from the tokens."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from lm.small_games import DATA, GAME, KEY, WORDS, S, small_decoder

from klamp.lm.environments.environment import play
from klamp.lm.networks.generation import Sampling


@pytest.fixture(scope="module")
def decoder():
    return small_decoder()


@pytest.fixture(scope="module")
def played(decoder):
    rows = jnp.arange(S)
    return play(decoder, GAME, DATA, rows, KEY, rows, Sampling())


def test_episodes_follow_the_rules(played) -> None:
    """Read again from the tokens alone: prompt, guess, answer, guess, …"""
    for row in range(S):
        words = [WORDS[i] for i in np.asarray(played.tokens[row])[np.asarray(played.valid[row])]]
        number = int(GAME.reset(jax.random.fold_in(DATA, row))[0].number)
        guesses, answers = words[1::2], words[2::2]
        assert words[0] == "?"
        assert len(answers) == len(guesses) - 1
        for guess, answer in zip(guesses, answers, strict=False):
            right = "?" if not guess.isdigit() else "<" if number < int(guess) else ">"
            assert answer == right
            assert guess != str(number)
        over = guesses[-1] == str(number)
        assert over or len(guesses) == 3
        n = len(guesses)
        assert played.reward[row].tolist() == [-1] * n + [0] * (3 - n)
        assert played.turn[row].tolist() == [1, 2, 3][:n] + [0] * (3 - n)
        assert bool(played.terminated[row, n - 1]) is over is not bool(played.truncated[row, n - 1])


def test_an_episode_does_not_depend_on_its_neighbours(decoder, played) -> None:
    some = jnp.asarray([20, 3, 7])
    alone = play(decoder, GAME, DATA, some, KEY, some, Sampling())
    jax.tree.map(lambda a, b: np.testing.assert_array_equal(a, b[some]), alone, played)
