"""Processes as threads over a store: all hear the same, and none is left waiting."""

import numpy as np
import pytest
from joined_threads import in_each, joined_threads

from klamp.errors import ProcessLost
from klamp.runtime.joined import ALONE, Joined, packed, unpacked
from klamp.runtime.signals import Signals, StopAsked
from klamp.runtime.watch import Ended


@pytest.fixture
def three():
    joined = joined_threads(3)
    yield joined
    for each in joined:
        each.watch.leave()


def of(each: Joined) -> dict[str, np.ndarray]:
    return {"index": np.asarray(each.index), "letters": np.full((2, 0), 3.0)}


def test_arrays_come_back_as_they_were():
    arrays = {
        "a": np.arange(6).reshape(2, 3)[:, ::2],
        "turned": np.arange(6.0).reshape(2, 3).T,
        "number": np.asarray(4),
        "empty": np.zeros((0, 3), bool),
    }
    again = unpacked(packed(arrays))
    assert {name: array.dtype for name, array in again.items()} == {
        name: array.dtype for name, array in arrays.items()
    }
    for name, array in arrays.items():
        np.testing.assert_array_equal(again[name], array)


def test_all_get_what_each_made_in_their_order_and_nothing_is_kept(three):
    def work(each):
        for _ in range(3):
            parts = each.exchange(lambda: of(each))
        return [int(part["index"]) for part in parts], parts[0]["letters"].shape

    assert in_each(three, work) == [([0, 1, 2], (2, 0))] * 3
    left = [name for name in three[0]._client.kept if "alive" not in name]
    assert {name.split("/")[1] for name in left} == {f"{3:012d}"}


def test_process_0_leads_and_the_others_answer(three):
    def work(each):
        if each.index == 0:
            each.lead("go")
            return [int(part["index"]) for part in each.gather("where")]
        commands = [each.command(), each.command()]
        each.answer(of(each))
        return commands

    assert in_each(three, work) == [[1, 2], ["go", "where"], ["go", "where"]]


def test_one_that_is_asked_to_stop_stops_all_at_the_same_exchange(three):
    signals = [Signals() for _ in three]
    for each, own in zip(three, signals, strict=True):
        each.heed(own)

    def work(each):
        each.exchange(lambda: of(each))

        def stopped():
            if each.index == 1:
                signals[1].number = 15
                raise StopAsked
            return of(each)

        each.exchange(stopped)

    assert [type(result) for result in in_each(three, work)] == [StopAsked] * 3
    assert [own.number for own in signals] == [15, 15, 15]


def test_one_that_ends_is_not_waited_for(three):
    def work(each):
        if each.index == 2:
            each.watch.end(2, "it could not be done")
            return None
        return each.exchange(lambda: of(each))

    first, second, _ = in_each(three, work)
    assert isinstance(first, Ended)
    assert isinstance(second, Ended)
    assert first.code == 2
    assert "Process 2 (102 on host2) has ended the run: it could not be done" in str(first)


def test_one_that_is_silent_is_named():
    joined = joined_threads(2, lost_after_s=1.2)
    joined[1].watch.leave()
    with pytest.raises(ProcessLost, match=r"Process 1 \(101 on host1\) has not been heard of"):
        joined[0].exchange(lambda: of(joined[0]))
    joined[0].watch.leave()


def test_a_store_that_is_gone_is_a_loss_of_process_0(three, monkeypatch):
    def gone(key, timeout_in_ms):
        raise RuntimeError("UNAVAILABLE: Socket closed")

    monkeypatch.setattr(three[1]._client, "blocking_key_value_get_bytes", gone)
    with pytest.raises(ProcessLost, match=r"Process 0 .* has closed the connection"):
        three[1].command()


def test_a_store_that_takes_nothing_is_a_loss_of_process_0(three, monkeypatch):
    def gone(key, value):
        raise RuntimeError("UNAVAILABLE: Socket closed")

    monkeypatch.setattr(three[1]._client, "key_value_set_bytes", gone)
    for tell in (three[1].answer, lambda own: three[1].exchange(lambda: own)):
        with pytest.raises(ProcessLost, match=r"Process 0 \(100 on host0\) has closed the conn"):
            tell(of(three[1]))


def test_one_process_asks_nobody():
    assert ALONE.exchange(lambda: {"a": np.ones(2)})[0]["a"].sum() == 2
    assert ALONE.gather("anything") == []
    ALONE.lead("anything")
    error = RuntimeError()
    assert ALONE.explained(error) is error
