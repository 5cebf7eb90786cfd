"""Calls of users' functions: results in order, faults named, time limits kept."""

import threading

import pytest

from klamp.lm.environments.user_calls import THREADS, CallFault, call_all


def test_results_come_in_the_order_of_the_calls() -> None:
    assert call_all([lambda n=n: n * n for n in range(3 * THREADS)], 60) == [
        n * n for n in range(3 * THREADS)
    ]
    assert call_all([], 60) == []


def test_the_first_call_that_raised_is_named_with_its_words() -> None:
    def fail() -> None:
        raise KeyError("the answer")

    with pytest.raises(CallFault, match="raised KeyError: 'the answer'") as caught:
        call_all([lambda: None, fail, fail], 60)
    assert caught.value.index == 1
    assert isinstance(caught.value.__cause__, KeyError)


def test_a_call_that_hangs_is_given_up() -> None:
    end = threading.Event()
    calls = [lambda: None, end.wait, *[end.wait] * THREADS]
    with pytest.raises(CallFault, match=r"did not return within 0\.05 s") as caught:
        call_all(calls, 0.05)
    assert caught.value.index == 1
    end.set()
