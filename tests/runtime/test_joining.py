"""Joining: what is wrong is told in one paragraph, in every process, within the limit."""

import json
import os
import socket
import threading
import time

import pytest
from joined_threads import Store, in_each, joined_threads, until

from klamp.errors import LOST, ConfigError
from klamp.runtime import joining
from klamp.runtime.joining import Cluster, join, leave


def free() -> str:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return f"127.0.0.1:{server.getsockname()[1]}"


@pytest.mark.parametrize(
    ("cluster", "said"),
    [
        (Cluster("10.0.0.1", 2, 1), "`coordinator` is '10.0.0.1', but must be HOST:PORT"),
        (Cluster("host:0", 2, 1), "must be HOST:PORT"),
        (Cluster("host:29400", 2), "`process` is None and `processes` is 2"),
        (Cluster("host:29400", 2, 2), "which of them this is, from 0"),
        (Cluster("no.such.host.invalid:29400", 2, 1, 0.2), "could not reach the coordinator"),
    ],
)
def test_what_cannot_be_an_address_is_refused(cluster: Cluster, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        join(cluster, {})


def test_a_coordinator_that_is_not_there_is_told_within_the_limit() -> None:
    began = time.monotonic()
    with pytest.raises(ConfigError, match=r"could not reach .* within 0.3 s .*join_timeout_s"):
        join(Cluster(free(), 2, 1, 0.3), {})
    assert time.monotonic() - began < 60


@pytest.mark.skipif(not hasattr(os, "SCHED_BATCH"), reason="Linux has it")
def test_only_threads_that_are_made_meanwhile_wait() -> None:
    found: list[int] = []

    def note() -> None:
        found.append(os.sched_getscheduler(0))

    def policy_of_a_new_thread() -> None:
        thread = threading.Thread(target=note)
        thread.start()
        thread.join()

    mine = os.sched_getscheduler(0)
    with joining.new_threads_wait():
        policy_of_a_new_thread()
    policy_of_a_new_thread()
    note()
    assert found == [os.SCHED_BATCH, mine, mine]


def test_a_port_that_is_in_use_is_told_by_process_0() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        pytest.raises(ConfigError, match="could not listen on the coordinator"),
    ):
        join(Cluster(f"127.0.0.1:{server.getsockname()[1]}", 2, 0), {})


def compared(facts: list[dict[str, object]]) -> list[object]:
    store = Store()

    def one(index: int) -> object:
        deadline = time.monotonic() + 60
        return joining._compared(store, index, len(facts), facts[index], deadline)

    class Each:
        def __init__(self, index: int) -> None:
            self.index = index

    return in_each([Each(index) for index in range(len(facts))], lambda each: one(each.index))


def test_processes_that_run_the_same_know_each_other() -> None:
    lists = compared([{"steps": 100, "sizes": (4,)}, {"steps": 100, "sizes": [4]}])
    assert lists[0] == lists[1]
    assert [member.number for member in lists[0]] == [0, 1]


def test_unequal_settings_are_told_in_every_process() -> None:
    errors = compared([{"steps": 100}, {"steps": 100}, {"steps": 200}])
    for error in errors:
        assert isinstance(error, ConfigError)
        assert "`steps` is 100 in process 0" in str(error)
        assert "and 200 in process 2" in str(error)


def test_unequal_versions_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store()
    other = {"host": "elsewhere", "pid": 1, "facts": joining.fingerprint() | {"jax": "0.9.0"}}
    store.key_value_set("klamp/member/1", json.dumps(other))
    store.key_value_set("klamp/reader/1", "")
    with pytest.raises(ConfigError, match=r"`jax` is '.*' in process 0.* '0.9.0' in process 1"):
        joining._compared(store, 0, 2, {}, time.monotonic() + 60)


def test_process_0_waits_until_the_others_know_how_it_ends() -> None:
    joined = joined_threads(2)
    order = []

    def work(each):
        if each.index == 1:
            until(lambda: each.watch._heard[0][0].get("ended"))
            order.append("heard")
        leave(each, 0, "done")
        order.append(each.index)

    in_each(joined, work)
    assert order.index("heard") < order.index(0)
    for each in joined:
        each.watch.leave()


def test_an_abort_of_jax_names_process_0_and_exits_so_that_it_is_tried_again(monkeypatch, capsys):
    joined = joined_threads(2)
    codes = []
    monkeypatch.setattr(joining.os, "_exit", codes.append)
    joining.aborted(joined[1].watch)
    assert codes == [LOST]
    assert "Process 0 (100 on host0) is gone" in capsys.readouterr().err
    joined[0].watch.leave()
    joined[1].watch.leave()
