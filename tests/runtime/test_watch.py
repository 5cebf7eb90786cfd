"""Each process hears the others, and knows who is gone."""

import pytest
from joined_threads import joined_threads, until

from klamp.errors import LOST
from klamp.runtime.watch import Ended, Member


@pytest.fixture
def two():
    joined = joined_threads(2, lost_after_s=1.2)
    yield [each.watch for each in joined]
    for each in joined:
        each.watch.leave()


def test_nobody_is_lost_while_all_are_there(two):
    for watch in two:
        watch.check()
        assert watch.loss() is None


def test_a_signal_of_one_is_heard_by_the_others(two):
    heard = []
    two[0].on_stop = heard.append
    two[1].asked = lambda: 15
    until(lambda: heard)
    assert heard[0] == 15


def test_an_end_is_told_with_its_code_and_the_first_counts(two):
    two[1].end(143, "SIGTERM: saved")
    two[1].end(1, "later")
    until(lambda: two[0]._heard[1][0].get("ended"))
    with pytest.raises(Ended, match="SIGTERM: saved") as ended:
        two[0].check()
    assert ended.value.code == 143
    assert two[0].loss(0.0) is None, "who has ended is not lost"
    two[0].wait_for_all(60.0)


def test_one_that_falls_silent_is_lost_and_told_of_while_the_main_thread_waits(two):
    told = []
    two[0].on_loss = told.append
    two[1].leave()
    until(lambda: told)
    assert told[0].code == LOST
    assert "Process 1 (101 on host1)" in str(told[0])
    assert str(two[0].suspect()).startswith("Process 1 (101 on host1)")


def test_a_member_is_named_with_its_host():
    assert str(Member(3, "node7", 42)) == "Process 3 (42 on node7)"
