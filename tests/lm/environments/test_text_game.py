"""Environments of text: one game with their twin of token ids, and what they may do wrong."""

import threading

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from lm.small_games import DATA, GAME, KEY, WORDS, S, small_decoder

from klamp.errors import EnvironmentFault
from klamp.lm.environments.environment import Turn, play
from klamp.lm.environments.text_game import TextGame, play_text
from klamp.lm.networks.generation import Sampling, TurnLimits


class GuessInText:
    """The game of ``Guess``, by strings."""

    def reset(self, row: int, seed: int) -> str:
        self.number = int(GAME.reset(jax.random.fold_in(DATA, row))[0].number)
        return "?"

    def step(self, text: str) -> Turn:
        if not text.isdigit():
            return Turn("?", -1)
        guess = int(text)
        if guess == self.number:
            return Turn(None, -1.0, terminated=True, info={"number": guess})
        return Turn("<" if self.number < guess else ">", -1)


def game(make, **settings) -> TextGame:
    limits = settings.pop("limits", TurnLimits(1))
    sizes = {"longest_prompt": 1, "longest_observation": 1} | settings
    encode = lambda text: [WORDS.index(word) for word in text.split()]  # noqa: E731
    decode = lambda ids: " ".join(WORDS[i] for i in ids)  # noqa: E731
    return TextGame(make, encode, encode, decode, limits, 3, **sizes)


@pytest.fixture(scope="module")
def decoder():
    return small_decoder()


@pytest.fixture(scope="module")
def played(decoder):
    rows = jnp.arange(S)
    return play(decoder, GAME, DATA, rows, KEY, rows, Sampling())


def test_text_and_token_ids_are_one_game(decoder, played) -> None:
    got = play_text(decoder, game(GuessInText), range(S), np.arange(S), 0, KEY, Sampling())
    jax.tree.map(np.testing.assert_array_equal, got.completions, played)
    assert got.prompts == ["?"] * S
    for row in range(S):
        said = [
            WORDS[i] for i in np.asarray(played.action[row])[np.asarray(played.weight[row]) > 0]
        ]
        assert got.texts[row] == said
        found = bool(played.terminated[row].any())
        assert got.info[row] == ({"number": int(said[-1])} if found else {})


def test_observations_longer_than_others_and_none_at_all(decoder) -> None:
    """What each row reads is its own, whatever others read; a word that stops is not its text."""

    class Talker:
        def reset(self, row: int, seed: int) -> str:
            self.row, self.heard = row, []
            return " ".join(["0"] * (1 + row))

        def step(self, text: str) -> Turn:
            self.heard.append(text)
            over = len(self.heard) > self.row
            return Turn(" ".join(["2"] * self.row) or None, len(text), False, over)

    limits = TurnLimits(4, (WORDS.index("3"),))
    rules = game(Talker, limits=limits, longest_prompt=3, longest_observation=8)
    got = play_text(decoder, rules, range(3), np.arange(3), 0, KEY, Sampling())
    done = got.completions
    for row in range(3):
        texts = got.texts[row]
        assert len(texts) == row + 1
        assert not any("3" in text.split() for text in texts)
        words = [WORDS[i] for i in np.asarray(done.tokens[row])[np.asarray(done.valid[row])]]
        actions = [WORDS[i] for i in np.asarray(done.action[row])]
        expected, at = ["0"] * (1 + row), 0
        for turn, text in enumerate(texts, start=1):
            n = int((done.turn[row] == turn).sum())
            wrote = actions[at : at + n]
            stopped = wrote[-1] == "3"
            assert text.split() == (wrote[:-1] if stopped else wrote)
            assert stopped or n == 4
            at += n
            assert float(done.reward[row, at - 1]) == len(text)
            expected += wrote + (["2"] * row if turn <= row else [])
        assert words == expected
        assert bool(done.truncated[row, at - 1])


def broken(action):
    class Broken(GuessInText):
        def step(self, text: str) -> Turn:
            return action(self, text)

    return Broken


def fail(*_):
    raise RuntimeError("the dice are gone")


@pytest.mark.parametrize(
    ("action", "words"),
    [
        (fail, r"row 0, turn 1\) raised RuntimeError: the dice are gone"),
        (lambda *_: ("<", -1.0), r"answered \('<', -1.0\); `step` must return"),
        (lambda *_: Turn("<", float("nan")), "the reward nan; expected"),
        (lambda *_: Turn(7, 1.0), "the observation 7"),  # type: ignore[arg-type]
        (lambda *_: Turn("< <", 1.0), "observation has 2 tokens, but may have 1"),
    ],
)
def test_what_an_environment_does_wrong_is_named(decoder, action, words) -> None:
    with pytest.raises(EnvironmentFault, match=words):
        play_text(decoder, game(broken(action)), range(S), np.arange(S), 0, KEY, Sampling())


def test_one_that_hangs_and_one_that_cannot_begin_are_named(decoder) -> None:
    end = threading.Event()
    slow = game(broken(lambda *_: end.wait()), time_limit=0.1)
    with pytest.raises(EnvironmentFault, match=r"row 0, turn 1\) did not return within 0\.1 s"):
        play_text(decoder, slow, range(S), np.arange(S), 0, KEY, Sampling())
    end.set()

    class Locked(GuessInText):
        def reset(self, row: int, seed: int) -> str:
            if row == 5:
                raise OSError("no file 5")
            return super().reset(row, seed)

    with pytest.raises(EnvironmentFault, match=r"row 5, reset\) raised OSError: no file 5"):
        play_text(decoder, game(Locked), range(S), np.arange(S), 0, KEY, Sampling())


def test_an_episode_depends_on_its_row_and_its_place_alone(decoder) -> None:
    """So a batch may be played in parts, by several processes."""
    rules, half = game(GuessInText), S // 2
    whole = play_text(decoder, rules, range(S), np.arange(S), 0, KEY, Sampling())
    for rows in (np.arange(half), np.arange(half, S)):
        part = play_text(decoder, rules, rows.tolist(), rows, 0, KEY, Sampling())
        assert part.texts == [whole.texts[row] for row in rows]
        assert part.info == [whole.info[row] for row in rows]
        np.testing.assert_array_equal(part.completions.action, whole.completions.action[rows])
