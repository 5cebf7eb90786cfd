"""Workers that die, hang or raise: noticed, named, healed by replay, and gone when asked to go."""

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from faulty_environments import register

from klamp import EnvironmentFault, KlampWarning
from klamp.envs.host.replay import CopiedEnvironments
from klamp.envs.source import resolve
from klamp.runtime.seeding import EnvironmentSeeds, Purpose

LIMIT_S = 4.0


def made(name: str, vectorization: str = "async") -> Any:
    return resolve(name).host(
        2, EnvironmentSeeds(3, Purpose.EPISODE), vectorization=vectorization, step_limit_s=LIMIT_S
    )


def walk(host: Any, steps: int) -> list[bytes]:
    """Every byte of so many steps."""
    seen = []
    for t in range(steps):
        after = host.step(np.array([t % 2, 1]))
        seen.append(
            b"".join(np.asarray(part).tobytes() for part in after[:-1]) + repr(after[-1]).encode()
        )
    return seen


@pytest.fixture(scope="module")
def orders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("orders")


@pytest.fixture(scope="module")
def name(orders: Path) -> str:
    return register(orders)


@pytest.fixture
def host(name: str, orders: Path) -> Iterator[CopiedEnvironments]:
    environments = made(name)
    yield environments
    environments.close()
    for order in orders.iterdir():
        order.unlink()


def processes(host: Any) -> list[Any]:
    return host.copies._processes


def test_the_dead_and_the_stuck_are_replaced_and_no_byte_differs(
    host: CopiedEnvironments, name: str, orders: Path
) -> None:
    calm = made(name, "sync")
    calm.reset()
    expected = walk(calm, 60)
    host.reset()
    found = walk(host, 10)
    for number, (what, call) in enumerate(
        [
            ("kill", "step"),
            ("exit", "step"),
            ("abort", "step"),
            ("stop", "step"),
            ("kill", "reset"),
        ],
        1,
    ):
        index = number % 2
        (orders / f"{processes(host)[index].pid}-{call}").write_text(what)
        began = time.monotonic()
        with pytest.warns(KlampWarning, match=f"Environment {index} of .*its episode played again"):
            found += walk(host, 10)
        assert time.monotonic() - began < LIMIT_S + 8
        assert host.healed == number
    assert found == expected


def test_death_outside_a_step_is_noticed_at_the_next(host: CopiedEnvironments) -> None:
    host.reset()
    processes(host)[1].kill()
    began = time.monotonic()
    with pytest.warns(
        KlampWarning, match="died: its process .* was killed by signal 9 by the system"
    ):
        walk(host, 1)
    assert time.monotonic() - began < 12


@pytest.mark.parametrize(
    ("what", "call", "message"),
    [
        (
            "raise",
            "step",
            r"Environment 0 of .* raised KeyError in `step`: .no such joint.*File .*obey",
        ),
        ("two", "step", "raised TwoParts in `step`: this and that"),
        ("system exit", "step", "raised SystemExit in `step`: 4"),
        ("two", "reset", r"raised TwoParts in `reset`: .*`reset\(seed="),
    ],
)
def test_what_environment_code_raises_is_told_in_its_words(
    host: CopiedEnvironments, orders: Path, what: str, call: str, message: str
) -> None:
    if call == "step":
        host.reset()
    (orders / f"{processes(host)[0].pid}-{call}").write_text(what)
    with pytest.raises(EnvironmentFault, match=message):
        walk(host, 1) if call == "step" else host.reset()


def test_what_comes_back_after_every_replay_stops_with_a_reproducer(
    host: CopiedEnvironments, orders: Path
) -> None:
    host.reset()
    walk(host, 3)
    (orders / "always-step").write_text("kill")
    with (
        pytest.warns(KlampWarning),
        pytest.raises(
            EnvironmentFault, match=r"lost 3 times .*is in .*klamp-episode-.*json"
        ) as caught,
    ):
        walk(host, 1)
    path = Path(str(caught.value).split(" is in ")[1].rstrip("."))
    text = path.read_text()
    path.unlink()
    assert f'"seed": {host.episode_seed(0)}' in text or f'"seed": {host.episode_seed(1)}' in text
    assert "actions" in text


def test_a_constructor_that_raises_is_named(name: str, orders: Path) -> None:
    (orders / "always-init").write_text("two")
    try:
        with pytest.raises(EnvironmentFault, match="TwoParts: this and that"):
            made(name)
    finally:
        (orders / "always-init").unlink()


def test_closing_takes_seconds_whatever_the_workers_do(host: CopiedEnvironments) -> None:
    host.reset()
    left = [psutil.Process(process.pid) for process in processes(host)]
    os.kill(left[0].pid, signal.SIGSTOP)
    handles = len(os.listdir("/dev/fd"))
    began = time.monotonic()
    host.close()
    assert time.monotonic() - began < 5
    assert not any(process.is_running() for process in left)
    assert len(os.listdir("/dev/fd")) < handles
    host.close()


def test_workers_end_with_their_parent(name: str, orders: Path) -> None:
    """A parent that is killed leaves nobody, not even in the middle of a step."""
    import multiprocessing

    ours, theirs = multiprocessing.get_context("forkserver").Pipe()
    parent = multiprocessing.get_context("spawn").Process(
        target=be_a_parent, args=(name, orders, theirs)
    )
    parent.start()
    assert ours.poll(60)
    pids = ours.recv()
    parent.kill()
    parent.join()
    deadline = time.monotonic() + 5
    while any(map(psutil.pid_exists, pids)) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not any(map(psutil.pid_exists, pids))


def be_a_parent(name: str, orders: Path, pipe: Any) -> None:
    assert register(orders) != ""
    host = made(register(orders))
    host.reset()
    workers = processes(host)
    (orders / f"{workers[0].pid}-step").write_text("sleep")
    pipe.send([process.pid for process in workers])
    host.step(np.zeros(2, int))
