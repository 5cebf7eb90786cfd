"""The storage hands out each trial once, and a dead worker's trial again, with its settings."""

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sweeps import file_of, needs_optuna, small_plan

from klamp.errors import ConfigError
from klamp.training.sweep.presence import FilePresence, Presence, presence_of
from klamp.training.sweep.study import Claimed, Study, reachable, shown_url

needs_optuna()


class Killed(BaseException):
    """In place of a SIGKILL."""


@pytest.fixture
def url(tmp_path: Path) -> str:
    return file_of(tmp_path)


@pytest.fixture
def worker(url: str) -> Iterator[Any]:
    """Makes a worker's view of the storage; its locks end with the test, or when it is closed."""
    made: list[Presence] = []

    def make() -> tuple[Study, Presence]:
        presence = presence_of(url, "sweep")
        made.append(presence)
        return Study(url, "sweep", small_plan(), presence), presence

    yield make
    for presence in made:
        presence.close()


def claimed(study: Study, total: int) -> Claimed:
    found = study.claim(total)
    assert isinstance(found, Claimed)
    return found


def test_a_trial_is_handed_out_once_and_ends_once(worker: Any) -> None:
    (a, _), (b, _) = worker(), worker()
    first, second = claimed(a, 3), claimed(b, 3)
    assert [first.number, second.number] == [0, 1]
    assert first.settings == small_plan().first()
    assert a.end(first, "COMPLETE", 1.5)
    assert not a.end(first, "COMPLETE", 2.5)
    assert b.end(second, "FAIL", why="it could not be")
    third = claimed(a, 3)
    assert b.claim(3) is True
    assert not b.end(third, "COMPLETE", 3.0), "it is not this worker's"
    assert a.end(third, "PRUNED")
    assert b.claim(3) is False
    assert a.claim(3) is False
    assert [(t.state, t.value, t.why) for t in a.trials()] == [
        ("complete", 1.5, None),
        ("failed", None, "it could not be"),
        ("pruned", None, None),
    ]
    assert claimed(a, 4).number == 3, "the number may be raised"


def test_what_a_dead_worker_leaves_is_taken_over(worker: Any) -> None:
    (a, alive), (b, _) = worker(), worker()
    left = claimed(a, 2)
    assert not a.report(left, 2, 10.0)
    assert claimed(b, 2).number == 1
    assert b.claim(2) is True, "its worker is alive"
    alive.close()
    again = claimed(b, 2)
    assert (again.number, again.settings) == (left.number, left.settings)
    assert b.trials()[0].lost == 1
    # A worker that was thought dead changes nothing.
    assert not a.end(left, "COMPLETE", 7.0)
    assert not b.report(again, 2, 11.0), "what was reported stays"
    assert b.end(again, "COMPLETE", 8.0)
    assert b.trials()[0].value == 8.0


def test_a_kill_at_any_write_loses_nothing(
    worker: Any, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same numbers and settings as without kills, however the turn was cut short."""
    (calm, _) = worker()
    storage = type(calm._storage)
    writes = ("_create_new_trial", "set_trial_state_values", "set_trial_param")
    writes += ("set_trial_user_attr", "set_trial_system_attr")
    expected: list[dict[str, Any]] = []
    for value in (1.0, 2.0, 3.0):
        expected.append((trial := claimed(calm, 3)).settings)
        calm.end(trial, "COMPLETE", value)

    killed, draw = 0, random.Random(1)

    def kill() -> None:
        nonlocal killed
        if draw.random() < 0.3:
            killed += 1
            raise Killed

    other = url.replace("sweep.db", "other.db")
    done: list[dict[str, Any]] = []
    for name in writes:
        monkeypatch.setattr(storage, name, _preceded(getattr(storage, name), kill))
    while len(done) < 3:
        presence = presence_of(other, "sweep")
        try:
            study = Study(other, "sweep", small_plan(), presence)
            while isinstance(trial := study.claim(3), Claimed):
                if study.end(trial, "COMPLETE", float(trial.number + 1)):
                    done.append(trial.settings)
        except Killed:
            pass
        finally:
            presence.close()
        done = [t.settings for t in study.trials() if t.ended]
    assert killed > 3
    assert done == expected


def _preceded(write: Any, before: Any) -> Any:
    def call(*arguments: Any, **options: Any) -> Any:
        before()
        return write(*arguments, **options)

    return call


def test_a_trial_that_kills_every_worker_fails(
    worker: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("klamp.training.sweep.study.MOST_LOST", 2)
    for _ in range(2):
        study, presence = worker()
        assert claimed(study, 1).number == 0
        presence.close()
    study, _ = worker()
    assert study.claim(1) is False
    assert "2 workers died" in str(study.trials()[0].why)


def test_another_sweep_is_not_gone_on_with(worker: Any, url: str, tmp_path: Path) -> None:
    worker()
    presence = FilePresence(tmp_path / "sweep.db.locks")
    with pytest.raises(ConfigError, match="holds another sweep of that name"):
        Study(url, "sweep", small_plan(steps=512), presence)
    presence.close()


def test_a_storage_that_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "sweep.db").write_text("no database" * 100)
    presence = FilePresence(tmp_path)
    with pytest.raises(ConfigError, match="cannot be used"), reachable(file_of(tmp_path)):
        Study(file_of(tmp_path), "sweep", small_plan(), presence)
    presence.close()


def test_no_password_is_shown() -> None:
    assert shown_url("postgresql://me:secret@host/db") == "postgresql://me@host/db"
    assert shown_url("sqlite:///a/b.db") == "sqlite:///a/b.db"
