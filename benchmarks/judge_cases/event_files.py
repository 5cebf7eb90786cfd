"""The files that TensorBoard reads, read and, where tensorboardX is missing, written."""

import struct
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any


def events(data: bytes) -> list[tuple[int, str, float]]:
    """Scalars of an event file: length and sum, protocol buffer, sum; again and again."""
    found, at = [], 0
    while at < len(data):
        (size,) = struct.unpack_from("<Q", data, at)
        event, at = fields(data[at + 12 : at + 12 + size]), at + 16 + size
        for summary in event.get(5, []):
            for value in fields(summary).get(1, []):
                parts = fields(value)
                (number,) = struct.unpack("<f", parts[2][0])
                found.append((event.get(2, [0])[0], parts[1][0].decode(), number))
    return found


def fields(data: bytes) -> dict[int, list[Any]]:
    """The fields of a protocol buffer by number."""
    found: dict[int, list[Any]] = {}
    at = 0

    def varint() -> int:
        nonlocal at
        number = shift = 0
        while True:
            byte = data[at]
            at, number, shift = at + 1, number | (byte & 127) << shift, shift + 7
            if byte < 128:
                return number

    while at < len(data):
        key = varint()
        kind = key & 7
        if kind == 0:
            value: Any = varint()
        else:
            size = {1: 8, 5: 4}.get(kind) or varint()
            value, at = data[at : at + size], at + size
        found.setdefault(key >> 3, []).append(value)
    return found


def stand_in() -> None:
    """A writer of event files, where tensorboardX is not installed."""
    try:
        import tensorboardX  # noqa: F401
    except ImportError:
        modules: Any = sys.modules
        modules["tensorboardX.event_file_writer"] = SimpleNamespace(EventsWriter=Writer)
        modules["tensorboardX.proto.event_pb2"] = SimpleNamespace(Event=Event)


class Event:
    """A record of scalars, as protobuf's: what is asked of it."""

    def __init__(self, wall_time: float, step: int) -> None:
        self.step, self.scalars = step, b""
        self.summary = SimpleNamespace(value=SimpleNamespace(add=self._add))

    def _add(self, tag: str, simple_value: float) -> None:
        name = tag.encode()
        scalar = b"\x0a" + _size(name) + name + b"\x15" + struct.pack("<f", simple_value)
        self.scalars += b"\x0a" + _size(scalar) + scalar


class Writer:
    """What of tensorboardX is asked for."""

    def __init__(self, prefix: str) -> None:
        self.path = Path(prefix)

    def write_event(self, record: Event) -> None:
        """One record."""
        event = b"\x10" + _varint(record.step) + b"\x2a" + _size(record.scalars) + record.scalars
        with self.path.open("ab") as file:
            file.write(struct.pack("<Q", len(event)) + bytes(4) + event + bytes(4))

    def flush(self) -> None:
        """Nothing waits."""

    close = flush


def _varint(number: int) -> bytes:
    found = b""
    while number > 127:
        found, number = found + bytes([number & 127 | 128]), number >> 7
    return found + bytes([number])


def _size(data: bytes) -> bytes:
    return _varint(len(data))
