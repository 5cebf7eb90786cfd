"""Metrics are strict JSON, one line per update, and a torn last line is left out."""

import errno
import json
import os
import tracemalloc
from pathlib import Path

import pytest

from klamp.errors import CheckpointError, KlampWarning
from klamp.runs.metrics_log import (
    LIMIT,
    LONGEST_LINE,
    MetricsLog,
    MetricsTail,
    drop_metrics_after,
    metrics_of,
    read_metrics,
    to_json,
)


def test_nan_becomes_null() -> None:
    line = to_json({"a": float("nan"), "b": float("inf"), "c": 1.5, "d": None, "e": "x"})
    assert json.loads(line) == {"a": None, "b": None, "c": 1.5, "d": None, "e": "x"}


def test_a_torn_line_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    log = MetricsLog(path)
    log.append({"update": 1})
    log.append({"update": 2})
    log.close()
    with path.open("a") as file:
        file.write('{"update": 3, "kl": 0.0')
    assert [line["update"] for line in read_metrics(path)] == [1, 2]


def test_nothing_is_touched_before_the_first_write(tmp_path: Path) -> None:
    path, called = tmp_path / "metrics.jsonl", list[bool]()
    log = MetricsLog(path, lambda: called.append(path.exists()))
    assert not path.exists()
    log.append({"update": 1})
    log.append({"update": 2})
    log.close()
    assert called == [False]


def test_lines_that_wait_are_written_before_a_sync_returns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, full = tmp_path / "metrics.jsonl", [True]

    def begin() -> None:
        if full[0]:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    log = MetricsLog(path, begin)
    with pytest.warns(KlampWarning, match="could not be written .No space left on device"):
        log.append({"update": 1})
    log.append({"update": 2, "kl": float("nan")})
    assert log.waiting == [{"update": 1}, {"update": 2, "kl": None}]
    with pytest.raises(OSError, match="No space left"):
        log.sync()
    full[0] = False
    log.sync()
    assert log.waiting == []
    assert [line["update"] for line in read_metrics(path)] == [1, 2]
    log.close()


@pytest.mark.parametrize(
    "line", [b'{"update": 2, "kl": 0.', b"\0\0\0", b"[2]", b'{"kl": 0}', b"\xff", b"[" * 10**5, b""]
)
def test_a_damaged_line_is_named_when_it_is_reached(line: bytes, tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b'{"update": 1}\n' + line + b'\n{"update": 3}\n')
    with pytest.raises(CheckpointError, match=r"metrics\.jsonl is damaged in line 2: it ."):
        read_metrics(path)
    assert next(metrics_of(path)) == {"update": 1}


def test_what_is_no_plain_file_is_neither_read_nor_written(tmp_path: Path) -> None:
    """Nothing outside a run's folder is opened, and no pipe is waited for."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_text('{"update": 1}\n')
    (tmp_path / "link").symlink_to(elsewhere)
    (tmp_path / "nowhere").symlink_to(tmp_path / "made")
    (tmp_path / "device").symlink_to("/dev/zero")
    os.mkfifo(tmp_path / "pipe")
    for name in ("link", "nowhere", "device", "pipe"):
        with pytest.raises(CheckpointError, match="no plain file"):
            read_metrics(tmp_path / name)
        with pytest.raises(CheckpointError, match="no plain file"):
            drop_metrics_after(tmp_path / name, 1)
        with pytest.raises(OSError):  # what it says is the system's own
            MetricsLog(tmp_path / name).sync()
    assert elsewhere.read_text() == '{"update": 1}\n'
    assert not (tmp_path / "made").exists()


def test_a_file_is_read_within_bounds(tmp_path: Path) -> None:
    """No line is longer in memory than it may be, and a file of holes is not read to its end."""
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b'{"update": 1}\n')
    with path.open("r+b") as file:
        file.truncate(LIMIT)
    tracemalloc.start()
    with pytest.raises(CheckpointError, match="line 2: it has over 65,536 bytes"):
        read_metrics(path)
    assert tracemalloc.get_traced_memory()[1] < 2**22
    tracemalloc.stop()
    with path.open("r+b") as file:
        file.truncate(LIMIT + 1)
    with pytest.raises(CheckpointError, match=r"4,294,967,297 bytes, at most 4,294,967,296"):
        read_metrics(path)
    longest = b'{"update": 1, "a": "%s"}\n'
    longest %= b"x" * (LONGEST_LINE - len(longest) + 2)
    path.write_bytes(longest * 2)
    assert len(read_metrics(path)) == 2


def test_a_tail_reads_each_complete_line_once(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"update": 1}\n{"upd')
    tail = MetricsTail(path)
    assert [line["update"] for line in tail.new()] == [1]
    assert not tail.was_cut()
    assert list(tail.new()) == []
    with path.open("a") as file:
        file.write('ate": 2}\n{"update": 3}\n')
    assert [line["update"] for line in tail.new()] == [2, 3]


@pytest.mark.parametrize("left", ['{"update": 1}\n', '{"update": 1}\n{"update": 9}\n', ""])
def test_a_tail_begins_again_where_lines_were_cut(left: str, tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"update": 1}\n{"update": 2}\n')
    tail = MetricsTail(path)
    assert len(list(tail.new())) == 2
    path.write_text(left)
    assert tail.was_cut()
    assert list(tail.new()) == [json.loads(line) for line in left.splitlines()]
    assert not tail.was_cut()


def test_lines_that_the_checkpoint_does_not_know_are_dropped(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text("".join(json.dumps({"update": i}) + "\n" for i in (1, 2, 3)))
    drop_metrics_after(path, 2)
    assert path.read_text().count("\n") == 2


def test_lines_that_are_lost_are_warned_of(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"update": 1}\n{"update": 3}\n')
    with pytest.warns(KlampWarning, match="the lines of 2 of the 3 updates"):
        drop_metrics_after(path, 3)
    with pytest.warns(KlampWarning, match="the lines of 0 of the 3 updates"):
        drop_metrics_after(tmp_path / "none.jsonl", 3)


def test_what_comes_after_the_checkpoint_may_be_damaged(tmp_path: Path) -> None:
    """A power cut leaves blocks of zeros at the end of a file that was being written."""
    path = tmp_path / "metrics.jsonl"
    whole = b'{"update": 1}\n{"update": 2}\n'
    path.write_bytes(whole + bytes(100) + b"\n{")
    drop_metrics_after(path, 2)
    assert path.read_bytes() == whole
    path.write_bytes(whole.replace(b"1", b"\0") + b"{}\n")
    with pytest.raises(CheckpointError, match="damaged in line 1"):
        drop_metrics_after(path, 2)
    drop_metrics_after(path, 0)
    assert path.read_bytes() == b""
