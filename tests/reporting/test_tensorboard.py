"""Event files: by a stand-in for the package, and by the package itself where it is there."""

import struct
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from klamp.errors import ConfigError
from klamp.reporting.tensorboard import FLUSHED_S, TensorBoardLog
from klamp.runs.metrics_log import to_json

LINES: list[dict[str, Any]] = [
    {"step": 8, "update": 1, "kl": 0.25, "return_mean": None, "outcome": "ACCEPTED"},
    {"step": 16, "update": 2, "kl": 0.5, "return_mean": 1.5, "outcome": "ACCEPTED"},
    {"step": 24, "update": 3, "kl": float("nan"), "return_mean": 2.5, "outcome": "ACCEPTED"},
]


class Event:
    """A record, as the package has it."""

    def __init__(self, wall_time: float, step: int) -> None:
        self.step, self.points = step, []
        self.summary = SimpleNamespace(value=SimpleNamespace(add=self.add))

    def add(self, tag: str, simple_value: float) -> None:
        self.points.append((tag, simple_value, self.step))


class Writer:
    """What of tensorboardX's is used."""

    made: "list[Writer]" = []  # noqa: RUF012

    def __init__(self, prefix: str) -> None:
        self.points: list[tuple[str, Any, int]] = []
        self.folder, self.closed, self.flushed = str(Path(prefix).parent), False, 0
        assert Path(self.folder).is_dir()
        Writer.made.append(self)

    def write_event(self, event: Event) -> None:
        self.points += event.points
        self.flushed = 0

    def flush(self) -> None:
        self.flushed = len(self.points)

    def close(self) -> None:
        self.closed = True


def tell(log: TensorBoardLog, folder: Path, line: dict[str, Any]) -> None:
    with (folder / "metrics.jsonl").open("a") as file:
        file.write(to_json(line) + "\n")
    event: Any = SimpleNamespace(folder=folder, metrics=line)
    log.update(event)


def test_a_curve_per_number_over_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, module in (("event_file_writer", {"EventsWriter": Writer}),
                         ("proto.event_pb2", {"Event": Event})):  # fmt: skip
        monkeypatch.setitem(sys.modules, f"tensorboardX.{name}", SimpleNamespace(**module))
    clock = [0.0]
    monkeypatch.setattr("klamp.reporting.tensorboard.time.monotonic", lambda: clock[0])
    Writer.made.clear()
    log = TensorBoardLog()
    log.close()
    assert not Writer.made
    tell(log, tmp_path, LINES[0])
    (writer,) = Writer.made
    assert writer.flushed == len(writer.points), "the first points are seen at once"
    tell(log, tmp_path, LINES[1])
    assert not writer.flushed
    log.close()
    assert writer.closed
    assert writer.folder == str(tmp_path / "tensorboard")
    assert ("kl", 0.25, 8) in writer.points
    assert ("return_mean", 1.5, 16) in writer.points
    assert {name for name, _, _ in writer.points} == {"step", "update", "kl", "return_mean"}
    # Gone on with: the files are written anew, with all that was before.
    clock[0] = FLUSHED_S
    second = TensorBoardLog()
    tell(second, tmp_path, LINES[2])
    assert Writer.made[1].flushed
    assert Writer.made[1].points[: len(writer.points)] == writer.points
    assert [point for point in Writer.made[1].points if point[2] == 24] == [
        ("step", 24, 24),
        ("update", 3, 24),
        ("return_mean", 2.5, 24),
    ]


def test_without_the_package_its_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorboardX.event_file_writer", None)
    with pytest.raises(ConfigError, match=r"tensorboardX.*pip install '\.\[tensorboard\]'"):
        TensorBoardLog()


@pytest.mark.filterwarnings("ignore")
def test_the_files_of_the_package_itself(tmp_path: Path) -> None:
    event_pb2 = pytest.importorskip("tensorboardX.proto.event_pb2")
    log = TensorBoardLog()
    for line in LINES:
        tell(log, tmp_path, line)
    log.close()
    (path,) = (tmp_path / "tensorboard").iterdir()
    data, points = path.read_bytes(), []
    while data:
        # Length, its sum, the record, its sum.
        (size,) = struct.unpack("<Q", data[:8])
        record = event_pb2.Event.FromString(data[12 : 12 + size])
        points += [(v.tag, v.simple_value, record.step) for v in record.summary.value]
        data = data[16 + size :]
    assert [point for point in points if point[0] in ("kl", "return_mean")] == [
        ("kl", 0.25, 8),
        ("kl", 0.5, 16),
        ("return_mean", 1.5, 16),
        ("return_mean", 2.5, 24),
    ]


@pytest.mark.filterwarnings("ignore")
def test_a_full_disk_is_told_to_whoever_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The package's own queue would take ten more numbers, and then wait for ever."""
    record_writer = pytest.importorskip("tensorboardX.record_writer")
    log = TensorBoardLog()
    tell(log, tmp_path, LINES[0])

    def full(self: object, data: bytes) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(record_writer.RecordWriter, "write", full)
    with pytest.raises(OSError, match="No space left"):
        tell(log, tmp_path, LINES[1])
    log.close()
