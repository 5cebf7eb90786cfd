"""Reward functions with TRL's signature, and what they may do wrong."""

import threading

import numpy as np
import pytest

from klamp.errors import ConfigError, EnvironmentFault
from klamp.lm.environments.rewards import Rewards

PROMPTS = ["a", "b", [{"role": "user", "content": "c"}]]
COMPLETIONS = ["x", "yy", "zzz"]
COLUMNS = {"answer": ["x", "y", "z"]}


def correct(prompts, completions, answer, **columns):
    """The example of the documentation."""
    texts = [c if isinstance(c, str) else c[0]["content"] for c in completions]
    return [float(text == right) for text, right in zip(texts, answer, strict=True)]


def length(completions):
    return [None, 2, np.float32(3)]


def by_turn(prompts, completions, **columns):
    return [[1.0], (2.0, 3.0), 4]


def scores(*functions, **settings):
    return Rewards(functions, **settings)(PROMPTS, COMPLETIONS, COLUMNS, [[1], [2], [3]], turns=2)


def test_weighted_sum_of_those_that_apply() -> None:
    found = scores(correct, length, weights=(1.0, 0.1))
    np.testing.assert_allclose(found.total, [1, 0.2, 0.3], rtol=1e-6)
    np.testing.assert_array_equal(found.by_name["correct"], [1, 0, 0])
    np.testing.assert_array_equal(found.by_name["length"], [np.nan, 2, 3])
    assert found.turns is None


def test_a_list_gives_each_turn_its_own() -> None:
    found = scores(by_turn, weights=(2.0,))
    np.testing.assert_array_equal(found.turns, [[2, 0], [4, 6], [0, 0]])
    np.testing.assert_array_equal(found.total, [0, 0, 8])
    np.testing.assert_array_equal(found.by_name["by_turn"], [1, 5, 4])


def test_what_a_function_is_called_with() -> None:
    seen = {}

    def look(**given):
        seen.update(given)
        return [0, 0, 0]

    scores(look)
    assert seen == {
        "prompts": PROMPTS,
        "completions": ["x", "yy", [{"role": "assistant", "content": "zzz"}]],
        "completion_ids": [[1], [2], [3]],
        **COLUMNS,
    }


def test_two_of_one_name_stay_apart() -> None:
    assert Rewards((length, length, correct)).names == ["length", "length_2", "correct"]


def returning(value):
    def odd(completions):
        return value

    return odd


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ([1, 2], "`odd` returned 2 rewards for 3 completions"),
        ([1, 2, float("nan")], "`odd` returned nan for row 2"),
        ([1, [0.0, float("inf")], 2], r"`odd` returned \[0.0, inf\] for row 1"),
        ([1, "good", 2], "`odd` returned 'good' for row 1"),
        ([1, [1, 2, 3], 2], "3 rewards for row 1, which has at most 2 turns"),
        (None, "`odd` returned None; expected a list"),
    ],
)
def test_wrong_rewards_are_named_with_function_and_row(value, words) -> None:
    with pytest.raises(EnvironmentFault, match=words):
        scores(returning(value))


def test_an_exception_is_named_with_function_row_and_its_own_words() -> None:
    def strict(prompts, completions, answer):
        if "y" in answer:
            raise ValueError("no answer y here")
        return [0] * len(prompts)

    words = "`strict` raised ValueError: no answer y here.* row 1: prompt 'b', completion 'yy'"
    with pytest.raises(EnvironmentFault, match=words):
        scores(strict)


def test_one_that_hangs_is_named() -> None:
    end = threading.Event()

    def wait(**_):
        end.wait()

    with pytest.raises(EnvironmentFault, match=r"`wait` did not return within 0\.05 s"):
        scores(wait, time_limit=0.05)
    end.set()


def test_what_cannot_work_is_said_before_the_start() -> None:
    Rewards((correct, length)).check_columns(["answer"])
    with pytest.raises(ConfigError, match=r"`correct` asks for `answer`.*Did you mean `anser`"):
        Rewards((correct,)).check_columns(["anser"])
    with pytest.raises(ConfigError, match="1 numbers for 2 reward functions"):
        Rewards((correct, length), (1.0,))
    with pytest.raises(ConfigError, match="`reward_weights` has nan"):
        Rewards((correct,), (float("nan"),))
